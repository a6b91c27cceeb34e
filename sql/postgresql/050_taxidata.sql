-- Yellow-taxi trips in the 18 columns of the Synapse sample, under the names of its JSON.
CREATE TABLE IF NOT EXISTS dbo.taxidata (
    id                      bigint GENERATED ALWAYS AS IDENTITY,
    "VendorID"              smallint,
    tpep_pickup_datetime    timestamp,
    tpep_dropoff_datetime   timestamp,
    passenger_count         smallint,
    trip_distance           double precision,
    "RatecodeID"            smallint,
    store_and_fwd_flag      boolean,
    "PULocationID"          integer,
    "DOLocationID"          integer,
    payment_type            smallint,
    fare_amount             double precision,
    extra                   double precision,
    mta_tax                 double precision,
    tip_amount              double precision,
    tolls_amount            double precision,
    improvement_surcharge   double precision,
    total_amount            double precision,
    congestion_surcharge    double precision,
    CONSTRAINT "PK_taxidata" PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS "IX_taxidata_pickup" ON dbo.taxidata (tpep_pickup_datetime);
CREATE INDEX IF NOT EXISTS "IX_taxidata_total_amount"
    ON dbo.taxidata (total_amount, tpep_pickup_datetime);

-- The files that the trips came from, so that no file is loaded twice and real trips replace the
-- sample.
CREATE TABLE IF NOT EXISTS dbo.taxidata_load (
    "LoadID"     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "FileName"   text        NOT NULL,
    "Digest"     char(64)    NOT NULL UNIQUE,
    "RowsLoaded" bigint      NOT NULL,
    "IsSample"   boolean     NOT NULL DEFAULT FALSE,
    "LoadedAt"   timestamptz NOT NULL DEFAULT clock_timestamp()
);
