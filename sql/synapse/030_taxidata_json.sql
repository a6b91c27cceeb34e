-- The first @Last matching trips in the order of their pick-up, numbered from 1, each as JSON text.
-- A filter that is NULL is ignored.
-- Trips of one pick-up time are ordered by drop-off, VendorID, zones, amounts, distance and payment
-- type; trips that are equal in all of these may swap between pages.
-- With TOP each node keeps only its first @Last rows, so a first page takes one pass over the
-- files, and only its own rows become text. The columns have types that FOR JSON prints as plain
-- decimals and whole seconds; a float would print as 1.550000000000000e+001. Amounts are exact to
-- four decimals. Runs over the external table of Synapse serverless and over an ordinary table of
-- that name on SQL Server, Azure SQL and Babelfish for PostgreSQL 4.
CREATE OR ALTER FUNCTION dbo.taxidata_page(
    @Last         bigint,
    @TotalAmount  decimal(28, 4),
    @PickupFrom   datetime2(7),
    @PickupTo     datetime2(7),
    @PaymentType  int,
    @PULocationID int
)
RETURNS TABLE
AS
RETURN
    SELECT
        n.Position,
        (
            SELECT
                n.VendorID AS [VendorID],
                CAST(n.tpep_pickup_datetime AS datetime2(0)) AS [tpep_pickup_datetime],
                CAST(n.tpep_dropoff_datetime AS datetime2(0)) AS [tpep_dropoff_datetime],
                n.passenger_count AS [passenger_count],
                CAST(n.trip_distance AS decimal(28, 4)) AS [trip_distance],
                n.RatecodeID AS [RatecodeID],
                n.store_and_fwd_flag AS [store_and_fwd_flag],
                n.PULocationID AS [PULocationID],
                n.DOLocationID AS [DOLocationID],
                n.payment_type AS [payment_type],
                CAST(n.fare_amount AS decimal(28, 4)) AS [fare_amount],
                CAST(n.extra AS decimal(28, 4)) AS [extra],
                CAST(n.mta_tax AS decimal(28, 4)) AS [mta_tax],
                CAST(n.tip_amount AS decimal(28, 4)) AS [tip_amount],
                CAST(n.tolls_amount AS decimal(28, 4)) AS [tolls_amount],
                CAST(n.improvement_surcharge AS decimal(28, 4)) AS [improvement_surcharge],
                CAST(n.total_amount AS decimal(28, 4)) AS [total_amount],
                CAST(n.congestion_surcharge AS decimal(28, 4)) AS [congestion_surcharge]
            FOR JSON PATH, INCLUDE_NULL_VALUES, WITHOUT_ARRAY_WRAPPER
        ) AS [Json]
    FROM (
        SELECT
            ROW_NUMBER() OVER (
                ORDER BY
                    p.tpep_pickup_datetime, p.tpep_dropoff_datetime, p.VendorID, p.PULocationID,
                    p.DOLocationID, p.total_amount, p.trip_distance, p.fare_amount, p.tip_amount,
                    p.payment_type
            ) AS Position,
            p.VendorID,
            p.tpep_pickup_datetime,
            p.tpep_dropoff_datetime,
            p.passenger_count,
            p.trip_distance,
            p.RatecodeID,
            p.store_and_fwd_flag,
            p.PULocationID,
            p.DOLocationID,
            p.payment_type,
            p.fare_amount,
            p.extra,
            p.mta_tax,
            p.tip_amount,
            p.tolls_amount,
            p.improvement_surcharge,
            p.total_amount,
            p.congestion_surcharge
        FROM (
            SELECT TOP (@Last)
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
                t.congestion_surcharge
            FROM dbo.taxidata AS t
            WHERE (@TotalAmount IS NULL OR CAST(t.total_amount AS decimal(28, 4)) = @TotalAmount)
                AND (@PickupFrom IS NULL OR t.tpep_pickup_datetime >= @PickupFrom)
                AND (@PickupTo IS NULL OR t.tpep_pickup_datetime < @PickupTo)
                AND (@PaymentType IS NULL OR t.payment_type = @PaymentType)
                AND (@PULocationID IS NULL OR t.PULocationID = @PULocationID)
            ORDER BY
                t.tpep_pickup_datetime, t.tpep_dropoff_datetime, t.VendorID, t.PULocationID,
                t.DOLocationID, t.total_amount, t.trip_distance, t.fare_amount, t.tip_amount,
                t.payment_type
        ) AS p
    ) AS n;
GO
