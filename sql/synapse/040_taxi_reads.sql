-- Reads of the trips. No writes, no temporary table beside the external one, no OFFSET: Synapse
-- serverless has none of them, so pages are cut by ROW_NUMBER.
IF OBJECT_ID(N'dbo.get_taxidata') IS NOT NULL
    DROP PROCEDURE dbo.get_taxidata;
GO

-- In: {"limit": 1000, "offset": 0, "total_amount", "pickup_from", "pickup_to", "payment_type",
-- "PULocationID", "rows"}, each optional; limit 0 is all. Out: an array of trips in pieces, to be
-- joined in order; with "rows": true one object a row.
CREATE PROCEDURE dbo.get_taxidata
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE
        @Limit bigint, @Offset bigint, @Last bigint, @TotalAmount float, @AmountFrom float,
        @AmountTo float, @PickupFrom datetime2(7), @PickupTo datetime2(7), @PaymentType int,
        @PULocationID int, @Rows nvarchar(10);

    SELECT
        @Limit = j.PageLimit,
        @Offset = j.PageOffset,
        @TotalAmount = j.TotalAmount,
        @PickupFrom = j.PickupFrom,
        @PickupTo = j.PickupTo,
        @PaymentType = j.PaymentType,
        @PULocationID = j.PULocationID,
        @Rows = j.AsRows
    FROM OPENJSON(@Json) WITH (
        PageLimit    bigint       '$.limit',
        PageOffset   bigint       '$.offset',
        TotalAmount  float        '$.total_amount',
        PickupFrom   datetime2(7) '$.pickup_from',
        PickupTo     datetime2(7) '$.pickup_to',
        PaymentType  int          '$.payment_type',
        PULocationID int          '$.PULocationID',
        AsRows       nvarchar(10) '$.rows'
    ) AS j;
    SET @Offset = ISNULL(@Offset, 0);
    SET @Limit = ISNULL(@Limit, 1000);
    -- More rows than there are, and far from the end of bigint.
    IF @Limit = 0
        SET @Limit = 1000000000000;
    SET @Last = @Offset + @Limit;

    -- A float is compared within half of its last printed decimal.
    SET @AmountFrom = @TotalAmount - 0.00005;
    SET @AmountTo = @TotalAmount + 0.00005;

    IF @Rows = N'true'
        SELECT n.[Json]
        FROM (
            SELECT
                ROW_NUMBER() OVER (
                    ORDER BY
                        t.tpep_pickup_datetime, t.tpep_dropoff_datetime, t.VendorID,
                        t.PULocationID, t.DOLocationID, t.total_amount, t.trip_distance,
                        t.fare_amount, t.tip_amount, t.payment_type, t.passenger_count,
                        t.RatecodeID, t.store_and_fwd_flag, t.extra, t.mta_tax,
                        t.tolls_amount, t.improvement_surcharge, t.congestion_surcharge
                ) AS Position,
                t.[Json]
            FROM dbo.taxidata_json AS t
            WHERE (@AmountFrom IS NULL OR t.total_amount BETWEEN @AmountFrom AND @AmountTo)
                AND (@PickupFrom IS NULL OR t.tpep_pickup_datetime >= @PickupFrom)
                AND (@PickupTo IS NULL OR t.tpep_pickup_datetime < @PickupTo)
                AND (@PaymentType IS NULL OR t.payment_type = @PaymentType)
                AND (@PULocationID IS NULL OR t.PULocationID = @PULocationID)
        ) AS n
        WHERE n.Position > @Offset AND n.Position <= @Last
        ORDER BY n.Position;
    ELSE
        SELECT piece.[Json]
        FROM (
            SELECT CAST(0 AS bigint) AS Position, '[' AS [Json]
            UNION ALL
            SELECT
                n.Position,
                CASE WHEN n.Position > @Offset + 1 THEN ',' ELSE '' END + n.[Json] AS [Json]
            FROM (
                SELECT
                    ROW_NUMBER() OVER (
                        ORDER BY
                            t.tpep_pickup_datetime, t.tpep_dropoff_datetime, t.VendorID,
                            t.PULocationID, t.DOLocationID, t.total_amount, t.trip_distance,
                            t.fare_amount, t.tip_amount, t.payment_type, t.passenger_count,
                            t.RatecodeID, t.store_and_fwd_flag, t.extra, t.mta_tax,
                            t.tolls_amount, t.improvement_surcharge, t.congestion_surcharge
                    ) AS Position,
                    t.[Json]
                FROM dbo.taxidata_json AS t
                WHERE (@AmountFrom IS NULL OR t.total_amount BETWEEN @AmountFrom AND @AmountTo)
                    AND (@PickupFrom IS NULL OR t.tpep_pickup_datetime >= @PickupFrom)
                    AND (@PickupTo IS NULL OR t.tpep_pickup_datetime < @PickupTo)
                    AND (@PaymentType IS NULL OR t.payment_type = @PaymentType)
                    AND (@PULocationID IS NULL OR t.PULocationID = @PULocationID)
            ) AS n
            WHERE n.Position > @Offset AND n.Position <= @Last
            UNION ALL
            SELECT CAST(9223372036854775807 AS bigint) AS Position, ']' AS [Json]
        ) AS piece
        ORDER BY piece.Position;
END;
GO

IF OBJECT_ID(N'dbo.get_taxidataAmount') IS NOT NULL
    DROP PROCEDURE dbo.get_taxidataAmount;
GO

-- In: {"total_amount": 20, "limit", "offset", "rows"}. Out: as get_taxidata.
CREATE PROCEDURE dbo.get_taxidataAmount
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    IF JSON_VALUE(@Json, '$.total_amount') IS NULL
    BEGIN
        THROW 50400, N'total_amount is missing.', 1;
    END;
    EXEC dbo.get_taxidata @Json;
END;
GO

IF OBJECT_ID(N'dbo.get_taxidataSummary') IS NOT NULL
    DROP PROCEDURE dbo.get_taxidataSummary;
GO

-- In: {"by": "hour" or "weekday" or "payment_type"}; weekday 1 is Monday. Out: an array of groups
-- {by, "trips", "fare_amount", "tip_amount", "total_amount"} in pieces, to be joined in order.
CREATE PROCEDURE dbo.get_taxidataSummary
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @By nvarchar(20) = JSON_VALUE(@Json, '$.by');

    IF @By IS NULL OR @By NOT IN (N'hour', N'weekday', N'payment_type')
    BEGIN
        THROW 50422, N'by is one of hour, weekday and payment_type.', 1;
    END;

    SELECT piece.[Json]
    FROM (
        SELECT CAST(0 AS bigint) AS Position, N'[' AS [Json]
        UNION ALL
        SELECT
            s.Position,
            CONCAT(
                CASE WHEN s.Position > 1 THEN N',' ELSE N'' END,
                N'{"', @By, N'":', ISNULL(CAST(s.GroupKey AS nvarchar(11)), N'null'),
                N',"trips":', CAST(s.Trips AS nvarchar(20)),
                N',"fare_amount":', ISNULL(CAST(s.FareAmount AS nvarchar(32)), N'null'),
                N',"tip_amount":', ISNULL(CAST(s.TipAmount AS nvarchar(32)), N'null'),
                N',"total_amount":', ISNULL(CAST(s.TotalAmount AS nvarchar(32)), N'null'),
                N'}'
            ) AS [Json]
        FROM (
            SELECT
                ROW_NUMBER() OVER (
                    ORDER BY CASE WHEN g.GroupKey IS NULL THEN 1 ELSE 0 END, g.GroupKey
                ) AS Position,
                g.GroupKey,
                COUNT_BIG(*) AS Trips,
                CAST(SUM(g.FareAmount) AS decimal(28, 2)) AS FareAmount,
                CAST(SUM(g.TipAmount) AS decimal(28, 2)) AS TipAmount,
                CAST(SUM(g.TotalAmount) AS decimal(28, 2)) AS TotalAmount
            FROM (
                SELECT
                    CASE @By
                        WHEN N'hour' THEN DATEPART(hour, t.tpep_pickup_datetime)
                        -- 1 January 1900 was a Monday; DATEPART(weekday) would ask DATEFIRST.
                        WHEN N'weekday' THEN
                            (DATEDIFF(day, CAST('19000101' AS date), t.tpep_pickup_datetime) % 7
                            + 7) % 7 + 1
                        ELSE t.payment_type
                    END AS GroupKey,
                    CAST(t.fare_amount AS decimal(28, 4)) AS FareAmount,
                    CAST(t.tip_amount AS decimal(28, 4)) AS TipAmount,
                    CAST(t.total_amount AS decimal(28, 4)) AS TotalAmount
                FROM dbo.taxidata AS t
            ) AS g
            GROUP BY g.GroupKey
        ) AS s
        UNION ALL
        SELECT CAST(9223372036854775807 AS bigint) AS Position, N']' AS [Json]
    ) AS piece
    ORDER BY piece.Position;
END;
GO
