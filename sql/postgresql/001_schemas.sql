-- Schemas under the names that the T-SQL scripts use, so that a procedure is called alike everywhere.
CREATE SCHEMA IF NOT EXISTS web;
CREATE SCHEMA IF NOT EXISTS dbo;
CREATE SCHEMA IF NOT EXISTS sales;
CREATE SCHEMA IF NOT EXISTS sequences;
