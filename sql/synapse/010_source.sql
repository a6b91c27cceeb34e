-- The location of the trips, read with the managed identity of the Synapse workspace, which needs
-- the role Storage Blob Data Reader on the storage account. The deployer fills in
-- $(StorageAccount), $(Container) and $(Path). A source in use can't be changed, so a source of
-- another location is dropped together with its table, which contains no data.
IF EXISTS (
    SELECT 1
    FROM sys.external_data_sources AS s
    WHERE s.name = N'taxidata_storage'
        AND s.location <> N'https://$(StorageAccount).dfs.$(StorageSuffix)/$(Container)'
)
BEGIN
    IF OBJECT_ID(N'dbo.taxidata') IS NOT NULL
        DROP EXTERNAL TABLE dbo.taxidata;
    DROP EXTERNAL DATA SOURCE taxidata_storage;
END;
GO

-- A key that the service protects, without a password.
IF NOT EXISTS (SELECT 1 FROM sys.symmetric_keys AS k WHERE k.name = N'##MS_DatabaseMasterKey##')
    CREATE MASTER KEY;
GO

IF NOT EXISTS (
    SELECT 1 FROM sys.database_scoped_credentials AS c WHERE c.name = N'taxidata_identity'
)
    CREATE DATABASE SCOPED CREDENTIAL taxidata_identity WITH IDENTITY = 'Managed Identity';
GO

IF NOT EXISTS (SELECT 1 FROM sys.external_data_sources AS s WHERE s.name = N'taxidata_storage')
    CREATE EXTERNAL DATA SOURCE taxidata_storage
    WITH (
        LOCATION = 'https://$(StorageAccount).dfs.$(StorageSuffix)/$(Container)',
        CREDENTIAL = taxidata_identity
    );
GO

IF NOT EXISTS (SELECT 1 FROM sys.external_file_formats AS f WHERE f.name = N'taxidata_parquet')
    CREATE EXTERNAL FILE FORMAT taxidata_parquet WITH (FORMAT_TYPE = PARQUET);
GO
