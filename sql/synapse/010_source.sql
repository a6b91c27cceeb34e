-- Where the trips lie, and as whom to read them: the managed identity of the Synapse workspace,
-- which needs the role Storage Blob Data Reader on the storage account.
-- $(StorageAccount), $(Container) and $(Path) are filled in by the deployer, and $(StorageSuffix) by
-- the cloud of the server's name. The table is dropped first, since a source in use can not be
-- changed; an external table holds no data of its own.
IF OBJECT_ID(N'dbo.taxidata') IS NOT NULL
    DROP EXTERNAL TABLE dbo.taxidata;
GO

IF EXISTS (SELECT 1 FROM sys.external_data_sources AS s WHERE s.name = N'taxidata_storage')
    DROP EXTERNAL DATA SOURCE taxidata_storage;
GO

-- A key that the service itself protects; it has no password to lose.
IF NOT EXISTS (SELECT 1 FROM sys.symmetric_keys AS k WHERE k.name = N'##MS_DatabaseMasterKey##')
    CREATE MASTER KEY;
GO

IF NOT EXISTS (
    SELECT 1 FROM sys.database_scoped_credentials AS c WHERE c.name = N'taxidata_identity'
)
    CREATE DATABASE SCOPED CREDENTIAL taxidata_identity WITH IDENTITY = 'Managed Identity';
GO

CREATE EXTERNAL DATA SOURCE taxidata_storage
WITH (
    LOCATION = 'https://$(StorageAccount).dfs.$(StorageSuffix)/$(Container)',
    CREDENTIAL = taxidata_identity
);
GO

IF NOT EXISTS (SELECT 1 FROM sys.external_file_formats AS f WHERE f.name = N'taxidata_parquet')
    CREATE EXTERNAL FILE FORMAT taxidata_parquet WITH (FORMAT_TYPE = PARQUET);
GO
