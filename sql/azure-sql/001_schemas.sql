-- Schemas. web is what the API may execute; internal is what those procedures are made of.
-- All belong to dbo: one owner lets a procedure reach a table that its caller may not (an unbroken
-- ownership chain), so EXECUTE on schema web is the only right the API needs.
-- Every script of this folder may be run again, on SQL Server 2016 SP1 and later, Azure SQL and
-- Babelfish for PostgreSQL 4. CREATE OR ALTER keeps the grants on a procedure and leaves no moment
-- without it; for an engine that refuses it the deployer drops and creates in one transaction.
IF SCHEMA_ID(N'web') IS NULL
    EXEC (N'CREATE SCHEMA web AUTHORIZATION dbo');
GO

IF SCHEMA_ID(N'internal') IS NULL
    EXEC (N'CREATE SCHEMA internal AUTHORIZATION dbo');
GO

IF SCHEMA_ID(N'Sales') IS NULL
    EXEC (N'CREATE SCHEMA Sales AUTHORIZATION dbo');
GO

IF SCHEMA_ID(N'Sequences') IS NULL
    EXEC (N'CREATE SCHEMA Sequences AUTHORIZATION dbo');
GO
