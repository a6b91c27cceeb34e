-- The API's database user and its only right. $(AppName) is the name of the web app, which is also
-- the name of its managed identity. Without a password: the user comes from Microsoft Entra ID, or,
-- on a SQL Server without it, from an existing login of that name.
DECLARE @AppName sysname = N'$(AppName)', @Statement nvarchar(max);

IF NOT EXISTS (SELECT 1 FROM sys.database_principals AS p WHERE p.name = @AppName)
BEGIN
    SET @Statement = N'CREATE USER ' + QUOTENAME(@AppName)
        + CASE
            WHEN SUSER_ID(@AppName) IS NULL THEN N' FROM EXTERNAL PROVIDER'
            ELSE N' FOR LOGIN ' + QUOTENAME(@AppName)
        END;
    EXEC (@Statement);
END;
GO

GRANT EXECUTE ON SCHEMA::web TO [$(AppName)];
GO
