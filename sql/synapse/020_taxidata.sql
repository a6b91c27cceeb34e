-- Yellow-taxi trips in Parquet files, as Spark wrote them. $(Path) is a folder or a pattern of
-- files in the container, such as /taxidata/*.parquet. A table that reads these files already
-- stays, so that it is available throughout a deployment.
IF EXISTS (
    SELECT 1
    FROM sys.external_tables AS t
    WHERE t.object_id = OBJECT_ID(N'dbo.taxidata') AND t.location <> N'$(Path)'
)
    DROP EXTERNAL TABLE dbo.taxidata;
GO

IF OBJECT_ID(N'dbo.taxidata') IS NULL
    CREATE EXTERNAL TABLE dbo.taxidata (
        VendorID              smallint,
        tpep_pickup_datetime  datetime2(7),
        tpep_dropoff_datetime datetime2(7),
        passenger_count       smallint,
        trip_distance         float,
        RatecodeID            smallint,
        store_and_fwd_flag    bit,
        PULocationID          smallint,
        DOLocationID          smallint,
        payment_type          smallint,
        fare_amount           float,
        extra                 float,
        mta_tax               float,
        tip_amount            float,
        tolls_amount          float,
        improvement_surcharge float,
        total_amount          float,
        congestion_surcharge  float
    )
    WITH (
        LOCATION = '$(Path)',
        DATA_SOURCE = taxidata_storage,
        FILE_FORMAT = taxidata_parquet
    );
GO
