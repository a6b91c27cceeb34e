-- The API's database user and its rights. $(AppName) is the name of the web app, which is also the
-- name of its managed identity. EXECUTE on the three procedures: the view and the table have the
-- same owner, so the API can use them through the procedures only. REFERENCES on the credential:
-- serverless requires it of the caller, because no ownership chain covers credentials.
IF NOT EXISTS (SELECT 1 FROM sys.database_principals AS p WHERE p.name = N'$(AppName)')
    CREATE USER [$(AppName)] FROM EXTERNAL PROVIDER;
GO

GRANT EXECUTE ON OBJECT::dbo.get_taxidata TO [$(AppName)];
GRANT EXECUTE ON OBJECT::dbo.get_taxidataAmount TO [$(AppName)];
GRANT EXECUTE ON OBJECT::dbo.get_taxidataSummary TO [$(AppName)];
GO

GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::taxidata_identity TO [$(AppName)];
GO
