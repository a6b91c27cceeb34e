-- The schema names of the T-SQL scripts, so that a procedure has the same name on every engine.
CREATE SCHEMA IF NOT EXISTS web;
CREATE SCHEMA IF NOT EXISTS dbo;
CREATE SCHEMA IF NOT EXISTS sales;
CREATE SCHEMA IF NOT EXISTS sequences;
