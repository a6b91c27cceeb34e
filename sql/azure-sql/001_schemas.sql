-- Schemas. web has the procedures that the API may execute, internal the procedures that they use.
-- All belong to dbo: with one owner, a procedure can use a table that its caller may not (an
-- unbroken ownership chain), so EXECUTE on the schema web is the only right that the API needs.
-- Each script of this folder is idempotent, and runs on SQL Server 2016 SP1 and later, Azure SQL
-- and Babelfish for PostgreSQL 4. CREATE OR ALTER keeps a procedure and its grants available
-- throughout; for an engine that lacks it, the deployer drops and creates the procedure in one
-- transaction.
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
