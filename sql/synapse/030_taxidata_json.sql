-- Each trip as its JSON text, beside the columns to filter and sort by.
-- The text is put together here, since FOR JSON writes a float as 1.550000000000000e+001 and not
-- every engine writes a bit or a datetime2 alike. Nothing in a trip needs escaping. Amounts have
-- four decimals at most and lose trailing zeros: 15.5, 20, -0.86.
-- Runs over the external table of Synapse serverless and over an ordinary table of that name on SQL
-- Server, Azure SQL and Babelfish for PostgreSQL 4.
IF OBJECT_ID(N'dbo.taxidata_json') IS NOT NULL
    DROP VIEW dbo.taxidata_json;
GO

CREATE VIEW dbo.taxidata_json
AS
SELECT
    t.VendorID,
    t.tpep_pickup_datetime,
    t.tpep_dropoff_datetime,
    t.passenger_count,
    t.trip_distance,
    t.RatecodeID,
    t.store_and_fwd_flag,
    t.PULocationID,
    t.DOLocationID,
    t.payment_type,
    t.fare_amount,
    t.extra,
    t.mta_tax,
    t.tip_amount,
    t.tolls_amount,
    t.improvement_surcharge,
    t.total_amount,
    t.congestion_surcharge,
    CONCAT(
        '{"VendorID":',
        ISNULL(CAST(t.VendorID AS varchar(11)), 'null'),
        ',"tpep_pickup_datetime":',
        ISNULL(
            '"' + LEFT(t.tpep_pickup_datetime_text, 19)
            + CASE
                WHEN DATEPART(nanosecond, t.tpep_pickup_datetime) = 0 THEN ''
                ELSE SUBSTRING(t.tpep_pickup_datetime_text, 20, 8)
            END + '"',
            'null'
        ),
        ',"tpep_dropoff_datetime":',
        ISNULL(
            '"' + LEFT(t.tpep_dropoff_datetime_text, 19)
            + CASE
                WHEN DATEPART(nanosecond, t.tpep_dropoff_datetime) = 0 THEN ''
                ELSE SUBSTRING(t.tpep_dropoff_datetime_text, 20, 8)
            END + '"',
            'null'
        ),
        ',"passenger_count":',
        ISNULL(CAST(t.passenger_count AS varchar(11)), 'null'),
        ',"trip_distance":',
        ISNULL(LEFT(t.trip_distance_text, LEN(t.trip_distance_text) - CASE
            WHEN RIGHT(t.trip_distance_text, 5) = '.0000' THEN 5
            WHEN RIGHT(t.trip_distance_text, 3) = '000' THEN 3
            WHEN RIGHT(t.trip_distance_text, 2) = '00' THEN 2
            WHEN RIGHT(t.trip_distance_text, 1) = '0' THEN 1
            ELSE 0
        END), 'null'),
        ',"RatecodeID":',
        ISNULL(CAST(t.RatecodeID AS varchar(11)), 'null'),
        ',"store_and_fwd_flag":',
        CASE t.store_and_fwd_flag WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE 'null' END,
        ',"PULocationID":',
        ISNULL(CAST(t.PULocationID AS varchar(11)), 'null'),
        ',"DOLocationID":',
        ISNULL(CAST(t.DOLocationID AS varchar(11)), 'null'),
        ',"payment_type":',
        ISNULL(CAST(t.payment_type AS varchar(11)), 'null'),
        ',"fare_amount":',
        ISNULL(LEFT(t.fare_amount_text, LEN(t.fare_amount_text) - CASE
            WHEN RIGHT(t.fare_amount_text, 5) = '.0000' THEN 5
            WHEN RIGHT(t.fare_amount_text, 3) = '000' THEN 3
            WHEN RIGHT(t.fare_amount_text, 2) = '00' THEN 2
            WHEN RIGHT(t.fare_amount_text, 1) = '0' THEN 1
            ELSE 0
        END), 'null'),
        ',"extra":',
        ISNULL(LEFT(t.extra_text, LEN(t.extra_text) - CASE
            WHEN RIGHT(t.extra_text, 5) = '.0000' THEN 5
            WHEN RIGHT(t.extra_text, 3) = '000' THEN 3
            WHEN RIGHT(t.extra_text, 2) = '00' THEN 2
            WHEN RIGHT(t.extra_text, 1) = '0' THEN 1
            ELSE 0
        END), 'null'),
        ',"mta_tax":',
        ISNULL(LEFT(t.mta_tax_text, LEN(t.mta_tax_text) - CASE
            WHEN RIGHT(t.mta_tax_text, 5) = '.0000' THEN 5
            WHEN RIGHT(t.mta_tax_text, 3) = '000' THEN 3
            WHEN RIGHT(t.mta_tax_text, 2) = '00' THEN 2
            WHEN RIGHT(t.mta_tax_text, 1) = '0' THEN 1
            ELSE 0
        END), 'null'),
        ',"tip_amount":',
        ISNULL(LEFT(t.tip_amount_text, LEN(t.tip_amount_text) - CASE
            WHEN RIGHT(t.tip_amount_text, 5) = '.0000' THEN 5
            WHEN RIGHT(t.tip_amount_text, 3) = '000' THEN 3
            WHEN RIGHT(t.tip_amount_text, 2) = '00' THEN 2
            WHEN RIGHT(t.tip_amount_text, 1) = '0' THEN 1
            ELSE 0
        END), 'null'),
        ',"tolls_amount":',
        ISNULL(LEFT(t.tolls_amount_text, LEN(t.tolls_amount_text) - CASE
            WHEN RIGHT(t.tolls_amount_text, 5) = '.0000' THEN 5
            WHEN RIGHT(t.tolls_amount_text, 3) = '000' THEN 3
            WHEN RIGHT(t.tolls_amount_text, 2) = '00' THEN 2
            WHEN RIGHT(t.tolls_amount_text, 1) = '0' THEN 1
            ELSE 0
        END), 'null'),
        ',"improvement_surcharge":',
        ISNULL(LEFT(t.improvement_surcharge_text, LEN(t.improvement_surcharge_text) - CASE
            WHEN RIGHT(t.improvement_surcharge_text, 5) = '.0000' THEN 5
            WHEN RIGHT(t.improvement_surcharge_text, 3) = '000' THEN 3
            WHEN RIGHT(t.improvement_surcharge_text, 2) = '00' THEN 2
            WHEN RIGHT(t.improvement_surcharge_text, 1) = '0' THEN 1
            ELSE 0
        END), 'null'),
        ',"total_amount":',
        ISNULL(LEFT(t.total_amount_text, LEN(t.total_amount_text) - CASE
            WHEN RIGHT(t.total_amount_text, 5) = '.0000' THEN 5
            WHEN RIGHT(t.total_amount_text, 3) = '000' THEN 3
            WHEN RIGHT(t.total_amount_text, 2) = '00' THEN 2
            WHEN RIGHT(t.total_amount_text, 1) = '0' THEN 1
            ELSE 0
        END), 'null'),
        ',"congestion_surcharge":',
        ISNULL(LEFT(t.congestion_surcharge_text, LEN(t.congestion_surcharge_text) - CASE
            WHEN RIGHT(t.congestion_surcharge_text, 5) = '.0000' THEN 5
            WHEN RIGHT(t.congestion_surcharge_text, 3) = '000' THEN 3
            WHEN RIGHT(t.congestion_surcharge_text, 2) = '00' THEN 2
            WHEN RIGHT(t.congestion_surcharge_text, 1) = '0' THEN 1
            ELSE 0
        END), 'null'),
        '}'
    ) AS [Json]
FROM (
    SELECT
        d.VendorID,
        d.tpep_pickup_datetime,
        d.tpep_dropoff_datetime,
        d.passenger_count,
        d.trip_distance,
        d.RatecodeID,
        d.store_and_fwd_flag,
        d.PULocationID,
        d.DOLocationID,
        d.payment_type,
        d.fare_amount,
        d.extra,
        d.mta_tax,
        d.tip_amount,
        d.tolls_amount,
        d.improvement_surcharge,
        d.total_amount,
        d.congestion_surcharge,
        CONVERT(varchar(33), d.tpep_pickup_datetime, 126) AS tpep_pickup_datetime_text,
        CONVERT(varchar(33), d.tpep_dropoff_datetime, 126) AS tpep_dropoff_datetime_text,
        CAST(CAST(d.trip_distance AS decimal(28, 4)) AS varchar(32))
            AS trip_distance_text,
        CAST(CAST(d.fare_amount AS decimal(28, 4)) AS varchar(32))
            AS fare_amount_text,
        CAST(CAST(d.extra AS decimal(28, 4)) AS varchar(32))
            AS extra_text,
        CAST(CAST(d.mta_tax AS decimal(28, 4)) AS varchar(32))
            AS mta_tax_text,
        CAST(CAST(d.tip_amount AS decimal(28, 4)) AS varchar(32))
            AS tip_amount_text,
        CAST(CAST(d.tolls_amount AS decimal(28, 4)) AS varchar(32))
            AS tolls_amount_text,
        CAST(CAST(d.improvement_surcharge AS decimal(28, 4)) AS varchar(32))
            AS improvement_surcharge_text,
        CAST(CAST(d.total_amount AS decimal(28, 4)) AS varchar(32))
            AS total_amount_text,
        CAST(CAST(d.congestion_surcharge AS decimal(28, 4)) AS varchar(32))
            AS congestion_surcharge_text
    FROM dbo.taxidata AS d
) AS t;
GO
