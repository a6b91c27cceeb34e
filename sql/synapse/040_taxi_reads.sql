-- Reads of the trips. Synapse serverless has no OFFSET, no writes, and no temporary tables in a
-- query of an external one, so taxidata_page numbers the trips. An offset costs as much as reading
-- all trips up to its page; the first page is the cheapest.

-- In: {"limit": 1000, "offset": 0, "total_amount", "pickup_from", "pickup_to", "payment_type",
-- "PULocationID", "rows"}, each optional; limit 0 means all. Out: an array of trips in pieces, to
-- be joined in order; with "rows": true one object per row.
CREATE OR ALTER PROCEDURE dbo.get_taxidata
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE
        @Limit bigint, @Offset bigint, @Last bigint, @TotalAmount float, @Amount decimal(28, 4),
        @PickupFrom datetime2(7), @PickupTo datetime2(7), @PaymentType int, @PULocationID int,
        @Rows nvarchar(10);

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
    SET @Amount = CAST(@TotalAmount AS decimal(28, 4));
    SET @Offset = ISNULL(@Offset, 0);
    SET @Limit = ISNULL(@Limit, 1000);
    -- More than the number of rows, and far below the end of bigint.
    IF @Limit = 0
        SET @Limit = 1000000000000;
    SET @Last = @Offset + @Limit;

    IF @Rows = N'true'
        SELECT n.[Json]
        FROM dbo.taxidata_page(
            @Last, @Amount, @PickupFrom, @PickupTo, @PaymentType, @PULocationID
        ) AS n
        WHERE n.Position > @Offset
        ORDER BY n.Position;
    ELSE
        SELECT piece.[Json]
        FROM (
            SELECT CAST(0 AS bigint) AS Position, N'[' AS [Json]
            UNION ALL
            SELECT
                n.Position,
                CONCAT(CASE WHEN n.Position > @Offset + 1 THEN N',' ELSE N'' END, n.[Json])
                    AS [Json]
            FROM dbo.taxidata_page(
                @Last, @Amount, @PickupFrom, @PickupTo, @PaymentType, @PULocationID
            ) AS n
            WHERE n.Position > @Offset
            UNION ALL
            SELECT CAST(9223372036854775807 AS bigint) AS Position, N']' AS [Json]
        ) AS piece
        ORDER BY piece.Position;
END;
GO

-- In: {"total_amount": 20, "limit", "offset", "rows"}. Out: like get_taxidata.
CREATE OR ALTER PROCEDURE dbo.get_taxidataAmount
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

-- In: {"by": "hour" or "weekday" or "payment_type"}; weekday 1 is Monday. Out: an array of groups
-- {by, "trips", "fare_amount", "tip_amount", "total_amount"} in pieces, to be joined in order.
CREATE OR ALTER PROCEDURE dbo.get_taxidataSummary
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
                        -- 1 January 1900 was a Monday; DATEPART(weekday) depends on DATEFIRST.
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

-- The view that taxidata_page replaced.
IF OBJECT_ID(N'dbo.taxidata_json') IS NOT NULL
    DROP VIEW dbo.taxidata_json;
GO
