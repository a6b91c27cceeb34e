-- Reads, and the only definition of a customer's JSON.

-- An empty string stands for NULL. DATALENGTH and not NULLIF, because in T-SQL N'' equals blanks
-- and, in some collations, an emoji.
CREATE OR ALTER VIEW internal.customers
AS
SELECT
    c.CustomerID,
    c.CustomerName,
    CASE WHEN DATALENGTH(c.PhoneNumber) > 0 THEN c.PhoneNumber END AS PhoneNumber,
    CASE WHEN DATALENGTH(c.FaxNumber) > 0 THEN c.FaxNumber END AS FaxNumber,
    CASE WHEN DATALENGTH(c.WebsiteURL) > 0 THEN c.WebsiteURL END AS WebsiteURL,
    CASE WHEN DATALENGTH(c.DeliveryAddressLine1) > 0 THEN c.DeliveryAddressLine1 END
        AS DeliveryAddressLine1,
    CASE WHEN DATALENGTH(c.DeliveryAddressLine2) > 0 THEN c.DeliveryAddressLine2 END
        AS DeliveryAddressLine2,
    CASE WHEN DATALENGTH(c.DeliveryPostalCode) > 0 THEN c.DeliveryPostalCode END
        AS DeliveryPostalCode
FROM Sales.Customers AS c;
GO

-- How FOR JSON of this engine writes a solidus: \/ on SQL Server, / on Babelfish. Replacing it by /
-- gives the same text everywhere. A backslash of the data is never changed, because each solidus
-- directly follows its own escaping backslash.
CREATE OR ALTER PROCEDURE internal.read_slash
    @Slash nvarchar(10) OUTPUT
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @Sample nvarchar(max);

    SET @Sample = (SELECT N'/' AS [s] FOR JSON PATH);
    SET @Slash = CASE
        WHEN CHARINDEX(N'\/', @Sample COLLATE Latin1_General_100_BIN2) > 0 THEN N'\/'
        ELSE N'/'
    END;
END;
GO

-- Sets @Customer to the JSON object of a customer and @ETag to its tag; NULL if there is none.
CREATE OR ALTER PROCEDURE internal.read_customer
    @CustomerID int,
    @Customer   nvarchar(max) OUTPUT,
    @ETag       varchar(64) OUTPUT
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @Slash nvarchar(10), @Hash varbinary(32);

    SET @Customer = (
        SELECT
            c.CustomerID AS [CustomerID],
            c.CustomerName AS [CustomerName],
            c.PhoneNumber AS [PhoneNumber],
            c.FaxNumber AS [FaxNumber],
            c.WebsiteURL AS [WebsiteURL],
            c.DeliveryAddressLine1 AS [Delivery.AddressLine1],
            c.DeliveryAddressLine2 AS [Delivery.AddressLine2],
            c.DeliveryPostalCode AS [Delivery.PostalCode]
        FROM internal.customers AS c
        WHERE c.CustomerID = @CustomerID
        FOR JSON PATH, WITHOUT_ARRAY_WRAPPER
    );
    EXEC internal.read_slash @Slash OUTPUT;
    SET @Customer = REPLACE(@Customer COLLATE Latin1_General_100_BIN2, @Slash, N'/');

    -- Two numbers and not hexadecimal digits, because Babelfish has no style 2 for varbinary.
    SET @Hash = HASHBYTES('SHA2_256', @Customer);
    SET @ETag = CAST(CAST(SUBSTRING(@Hash, 1, 8) AS bigint) AS varchar(20))
        + '.' + CAST(CAST(SUBSTRING(@Hash, 9, 8) AS bigint) AS varchar(20));
END;
GO

-- In: {"CustomerID": 123}. Out: [{customer}] and its ETag; no row if there is none.
CREATE OR ALTER PROCEDURE web.get_customer
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @CustomerID int, @Customer nvarchar(max), @ETag varchar(64);

    SELECT @CustomerID = j.CustomerID
    FROM OPENJSON(@Json) WITH (CustomerID int '$.CustomerID') AS j;
    EXEC internal.read_customer @CustomerID, @Customer OUTPUT, @ETag OUTPUT;

    SELECT N'[' + @Customer + N']' AS [Json], @ETag AS [ETag]
    WHERE @Customer IS NOT NULL;
END;
GO

-- In: {"limit", "after", "name", "fields", "sort", "rows"}, each optional. Out: [{customer}, ...]
-- and Next, the "after" of the next page or NULL; with "rows": true one object per row.
CREATE OR ALTER PROCEDURE web.get_customers
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE
        @Limit bigint, @Top bigint, @After nvarchar(max), @Name nvarchar(max),
        @Sort nvarchar(max), @Rows nvarchar(max), @Fields nvarchar(max),
        @Pattern nvarchar(4000), @Colon int, @AfterID bigint, @AfterName nvarchar(100),
        @HasID int, @HasName int, @HasPhone int, @HasFax int, @HasURL int, @HasDelivery int,
        @Response nvarchar(max), @Next nvarchar(200), @Slash nvarchar(10);
    DECLARE @Page TABLE (
        Position     bigint        NOT NULL PRIMARY KEY,
        CustomerID   int           NOT NULL,
        CustomerName nvarchar(100) NOT NULL
    );

    SELECT
        @Limit = j.PageLimit,
        @After = j.PageAfter,
        @Name = j.NamePart,
        @Sort = j.SortBy,
        @Rows = j.AsRows
    FROM OPENJSON(@Json) WITH (
        PageLimit bigint        '$.limit',
        PageAfter nvarchar(max) '$.after',
        NamePart  nvarchar(max) '$.name',
        SortBy    nvarchar(max) '$.sort',
        AsRows    nvarchar(max) '$.rows'
    ) AS j;
    SET @Sort = ISNULL(@Sort, N'CustomerID');
    IF @Sort NOT IN (N'CustomerID', N'-CustomerID', N'CustomerName', N'-CustomerName')
    BEGIN
        THROW 50422, N'sort is not one of the sorts offered.', 1;
    END;

    SET @Fields = ISNULL(JSON_QUERY(@Json, '$.fields'), N'["CustomerID","CustomerName"]');
    SELECT
        @HasID = MAX(CASE WHEN f.[value] = N'CustomerID' THEN 1 ELSE 0 END),
        @HasName = MAX(CASE WHEN f.[value] = N'CustomerName' THEN 1 ELSE 0 END),
        @HasPhone = MAX(CASE WHEN f.[value] = N'PhoneNumber' THEN 1 ELSE 0 END),
        @HasFax = MAX(CASE WHEN f.[value] = N'FaxNumber' THEN 1 ELSE 0 END),
        @HasURL = MAX(CASE WHEN f.[value] = N'WebsiteURL' THEN 1 ELSE 0 END),
        @HasDelivery = MAX(CASE WHEN f.[value] = N'Delivery' THEN 1 ELSE 0 END)
    FROM OPENJSON(@Fields) AS f;

    -- A wildcard in the requested name is literal. Names have at most 100 characters, so a longer
    -- part matches none.
    IF DATALENGTH(@Name) > 200
        SET @Pattern = N'';
    ELSE
        SET @Pattern = N'%' + REPLACE(REPLACE(REPLACE(REPLACE(
            @Name, N'!', N'!!'), N'%', N'!%'), N'_', N'!_'), N'[', N'![') + N'%';

    IF @After IS NOT NULL
    BEGIN
        SET @Colon = CHARINDEX(N':', @After COLLATE Latin1_General_100_BIN2);
        IF @Sort IN (N'CustomerID', N'-CustomerID') AND @Colon = 0
            SET @AfterID = TRY_CAST(@After AS int);
        IF @Sort IN (N'CustomerName', N'-CustomerName') AND @Colon > 0
        BEGIN
            SET @AfterID = TRY_CAST(LEFT(@After, @Colon - 1) AS int);
            SET @AfterName = SUBSTRING(@After, @Colon + 1, 100);
        END;
        IF @AfterID IS NULL
        BEGIN
            THROW 50422, N'after is not the mark of a page of this sort.', 1;
        END;
    END;

    SET @Limit = CASE WHEN @Limit > 0 THEN @Limit END;
    -- One row more than requested shows whether there is a next page.
    SET @Top = ISNULL(@Limit + 1, 9223372036854775807);

    -- One statement per sort, so that each uses its own index.
    IF @Sort = N'CustomerID'
        INSERT INTO @Page (Position, CustomerID, CustomerName)
        SELECT TOP (@Top)
            ROW_NUMBER() OVER (ORDER BY c.CustomerID), c.CustomerID, c.CustomerName
        FROM Sales.Customers AS c
        WHERE c.CustomerID > ISNULL(@AfterID, -9223372036854775808)
            AND (@Pattern IS NULL OR c.CustomerName LIKE @Pattern ESCAPE N'!')
        ORDER BY c.CustomerID;
    ELSE IF @Sort = N'-CustomerID'
        INSERT INTO @Page (Position, CustomerID, CustomerName)
        SELECT TOP (@Top)
            ROW_NUMBER() OVER (ORDER BY c.CustomerID DESC), c.CustomerID, c.CustomerName
        FROM Sales.Customers AS c
        WHERE c.CustomerID < ISNULL(@AfterID, 9223372036854775807)
            AND (@Pattern IS NULL OR c.CustomerName LIKE @Pattern ESCAPE N'!')
        ORDER BY c.CustomerID DESC;
    ELSE IF @Sort = N'CustomerName' AND @AfterName IS NULL
        INSERT INTO @Page (Position, CustomerID, CustomerName)
        SELECT TOP (@Top)
            ROW_NUMBER() OVER (ORDER BY c.CustomerName, c.CustomerID), c.CustomerID, c.CustomerName
        FROM Sales.Customers AS c
        WHERE @Pattern IS NULL OR c.CustomerName LIKE @Pattern ESCAPE N'!'
        ORDER BY c.CustomerName, c.CustomerID;
    ELSE IF @Sort = N'CustomerName'
        INSERT INTO @Page (Position, CustomerID, CustomerName)
        SELECT TOP (@Top)
            ROW_NUMBER() OVER (ORDER BY c.CustomerName, c.CustomerID), c.CustomerID, c.CustomerName
        FROM Sales.Customers AS c
        WHERE c.CustomerName >= @AfterName
            AND (c.CustomerName > @AfterName OR c.CustomerID > @AfterID)
            AND (@Pattern IS NULL OR c.CustomerName LIKE @Pattern ESCAPE N'!')
        ORDER BY c.CustomerName, c.CustomerID;
    ELSE IF @AfterName IS NULL
        INSERT INTO @Page (Position, CustomerID, CustomerName)
        SELECT TOP (@Top)
            ROW_NUMBER() OVER (ORDER BY c.CustomerName DESC, c.CustomerID DESC),
            c.CustomerID, c.CustomerName
        FROM Sales.Customers AS c
        WHERE @Pattern IS NULL OR c.CustomerName LIKE @Pattern ESCAPE N'!'
        ORDER BY c.CustomerName DESC, c.CustomerID DESC;
    ELSE
        INSERT INTO @Page (Position, CustomerID, CustomerName)
        SELECT TOP (@Top)
            ROW_NUMBER() OVER (ORDER BY c.CustomerName DESC, c.CustomerID DESC),
            c.CustomerID, c.CustomerName
        FROM Sales.Customers AS c
        WHERE c.CustomerName <= @AfterName
            AND (c.CustomerName < @AfterName OR c.CustomerID < @AfterID)
            AND (@Pattern IS NULL OR c.CustomerName LIKE @Pattern ESCAPE N'!')
        ORDER BY c.CustomerName DESC, c.CustomerID DESC;

    IF EXISTS (SELECT 1 FROM @Page WHERE Position > @Limit)
    BEGIN
        SELECT @Next = CAST(p.CustomerID AS nvarchar(11))
            + CASE
                WHEN @Sort IN (N'CustomerName', N'-CustomerName') THEN N':' + p.CustomerName
                ELSE N''
            END
        FROM @Page AS p
        WHERE p.Position = @Limit;
        DELETE FROM @Page
        WHERE Position > @Limit;
    END;

    EXEC internal.read_slash @Slash OUTPUT;
    IF @Rows = N'true'
        SELECT REPLACE(item.[Json] COLLATE Latin1_General_100_BIN2, @Slash, N'/') AS [Json]
        FROM (
            SELECT
                p.Position,
                (
                    SELECT
                        CASE WHEN @HasID > 0 THEN c.CustomerID END AS [CustomerID],
                        CASE WHEN @HasName > 0 THEN c.CustomerName END AS [CustomerName],
                        CASE WHEN @HasPhone > 0 THEN c.PhoneNumber END AS [PhoneNumber],
                        CASE WHEN @HasFax > 0 THEN c.FaxNumber END AS [FaxNumber],
                        CASE WHEN @HasURL > 0 THEN c.WebsiteURL END AS [WebsiteURL],
                        CASE WHEN @HasDelivery > 0 THEN c.DeliveryAddressLine1 END
                            AS [Delivery.AddressLine1],
                        CASE WHEN @HasDelivery > 0 THEN c.DeliveryAddressLine2 END
                            AS [Delivery.AddressLine2],
                        CASE WHEN @HasDelivery > 0 THEN c.DeliveryPostalCode END
                            AS [Delivery.PostalCode]
                    FOR JSON PATH, WITHOUT_ARRAY_WRAPPER
                ) AS [Json]
            FROM @Page AS p
            INNER JOIN internal.customers AS c ON c.CustomerID = p.CustomerID
        ) AS item
        ORDER BY item.Position;
    ELSE
    BEGIN
        SET @Response = (
            SELECT
                CASE WHEN @HasID > 0 THEN c.CustomerID END AS [CustomerID],
                CASE WHEN @HasName > 0 THEN c.CustomerName END AS [CustomerName],
                CASE WHEN @HasPhone > 0 THEN c.PhoneNumber END AS [PhoneNumber],
                CASE WHEN @HasFax > 0 THEN c.FaxNumber END AS [FaxNumber],
                CASE WHEN @HasURL > 0 THEN c.WebsiteURL END AS [WebsiteURL],
                CASE WHEN @HasDelivery > 0 THEN c.DeliveryAddressLine1 END
                    AS [Delivery.AddressLine1],
                CASE WHEN @HasDelivery > 0 THEN c.DeliveryAddressLine2 END
                    AS [Delivery.AddressLine2],
                CASE WHEN @HasDelivery > 0 THEN c.DeliveryPostalCode END AS [Delivery.PostalCode]
            FROM @Page AS p
            INNER JOIN internal.customers AS c ON c.CustomerID = p.CustomerID
            ORDER BY p.Position
            FOR JSON PATH
        );
        SELECT
            ISNULL(
                REPLACE(@Response COLLATE Latin1_General_100_BIN2, @Slash, N'/'), N'[]'
            ) AS [Json],
            @Next AS [Next];
    END;
END;
GO
