-- Each write is one transaction: look the key up, check If-Match, write, store the response, return
-- it. With XACT_ABORT ON every error ends the batch, rolls back all of it, and reaches the client
-- with its own number (1205 for a deadlock victim); rows are sent only after the commit.

-- Locks the customer until the transaction ends and archives its present version; @Found is 0 if
-- there is none. If a tag is given and differs from the row's: status 412.
CREATE OR ALTER PROCEDURE internal.lock_customer
    @CustomerID int,
    @IfMatch    nvarchar(max),
    @Found      int OUTPUT
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @Customer nvarchar(max), @ETag varchar(64);

    SET @Found = 0;
    SELECT @Found = 1
    FROM Sales.Customers AS c WITH (UPDLOCK)
    WHERE c.CustomerID = @CustomerID;

    IF @Found = 1
    BEGIN
        EXEC internal.archive_customer @CustomerID;
        EXEC internal.read_customer @CustomerID, @Customer OUTPUT, @ETag OUTPUT;
        IF @IfMatch <> @ETag
        BEGIN
            THROW 50412, N'The customer has changed since it was read.', 1;
        END;
    END;
END;
GO

-- Like read_customer, for a row that the caller's transaction has written. If a security policy
-- hides the row from the user that wrote it: status 403, and with XACT_ABORT ON nothing is written.
CREATE OR ALTER PROCEDURE internal.read_written_customer
    @CustomerID int,
    @Customer   nvarchar(max) OUTPUT,
    @ETag       varchar(64) OUTPUT
AS
BEGIN
    SET NOCOUNT ON;
    EXEC internal.read_customer @CustomerID, @Customer OUTPUT, @ETag OUTPUT;
    IF @Customer IS NULL
    BEGIN
        THROW 50403, N'A row-level security policy hides the customer that this request writes.', 1;
    END;
END;
GO

-- Values that are not in the document are those of Microsoft's sample: a computer shop without
-- contact person, delivered by post in Redmond, billed to itself.
-- Texts are nvarchar(max) up to the column, because a shorter variable would truncate them
-- silently.
CREATE OR ALTER PROCEDURE internal.insert_customer
    @Json       nvarchar(max),
    @CustomerID int OUTPUT
AS
BEGIN
    SET NOCOUNT ON;

    SET @CustomerID = NEXT VALUE FOR Sequences.CustomerID;
    INSERT INTO Sales.Customers (
        CustomerID, CustomerName, BillToCustomerID, CustomerCategoryID, PrimaryContactPersonID,
        DeliveryMethodID, DeliveryCityID, PostalCityID, AccountOpenedDate,
        StandardDiscountPercentage, IsStatementSent, IsOnCreditHold, PaymentDays,
        PhoneNumber, FaxNumber, WebsiteURL,
        DeliveryAddressLine1, DeliveryAddressLine2, DeliveryPostalCode,
        PostalAddressLine1, PostalAddressLine2, PostalPostalCode,
        LastEditedBy
    )
    SELECT
        @CustomerID, j.CustomerName, @CustomerID, 5, 1,
        1, 28561, 28561, CAST(SYSUTCDATETIME() AS date),
        0, 0, 0, 30,
        ISNULL(j.PhoneNumber, N''), ISNULL(j.FaxNumber, N''), ISNULL(j.WebsiteURL, N''),
        ISNULL(j.AddressLine1, N''), j.AddressLine2, ISNULL(j.PostalCode, N''),
        ISNULL(j.AddressLine1, N''), j.AddressLine2, ISNULL(j.PostalCode, N''),
        1
    FROM OPENJSON(@Json) WITH (
        CustomerName nvarchar(max) '$.CustomerName',
        PhoneNumber  nvarchar(max) '$.PhoneNumber',
        FaxNumber    nvarchar(max) '$.FaxNumber',
        WebsiteURL   nvarchar(max) '$.WebsiteURL',
        AddressLine1 nvarchar(max) '$.Delivery.AddressLine1',
        AddressLine2 nvarchar(max) '$.Delivery.AddressLine2',
        PostalCode   nvarchar(max) '$.Delivery.PostalCode'
    ) AS j;
END;
GO

-- @Whole = 1: an absent key clears its column. @Whole = 0: an absent key leaves it unchanged.
CREATE OR ALTER PROCEDURE internal.update_customer
    @CustomerID int,
    @Json       nvarchar(max),
    @Whole      int
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE
        @CustomerName nvarchar(max), @PhoneNumber nvarchar(max), @FaxNumber nvarchar(max),
        @WebsiteURL nvarchar(max), @AddressLine1 nvarchar(max), @AddressLine2 nvarchar(max),
        @PostalCode nvarchar(max), @Delivery nvarchar(max),
        @HasName int = @Whole, @HasPhone int = @Whole, @HasFax int = @Whole, @HasURL int = @Whole,
        @HasLine1 int = @Whole, @HasLine2 int = @Whole, @HasPostalCode int = @Whole;

    SELECT
        @CustomerName = j.CustomerName,
        @PhoneNumber = j.PhoneNumber,
        @FaxNumber = j.FaxNumber,
        @WebsiteURL = j.WebsiteURL,
        @AddressLine1 = j.AddressLine1,
        @AddressLine2 = j.AddressLine2,
        @PostalCode = j.PostalCode
    FROM OPENJSON(@Json) WITH (
        CustomerName nvarchar(max) '$.CustomerName',
        PhoneNumber  nvarchar(max) '$.PhoneNumber',
        FaxNumber    nvarchar(max) '$.FaxNumber',
        WebsiteURL   nvarchar(max) '$.WebsiteURL',
        AddressLine1 nvarchar(max) '$.Delivery.AddressLine1',
        AddressLine2 nvarchar(max) '$.Delivery.AddressLine2',
        PostalCode   nvarchar(max) '$.Delivery.PostalCode'
    ) AS j;

    -- Above, null and an absent key are the same; the list of keys shows the difference. Type 0 is
    -- null.
    IF @Whole = 0
    BEGIN
        SELECT
            @HasName = MAX(CASE WHEN j.[key] = N'CustomerName' THEN 1 ELSE 0 END),
            @HasPhone = MAX(CASE WHEN j.[key] = N'PhoneNumber' THEN 1 ELSE 0 END),
            @HasFax = MAX(CASE WHEN j.[key] = N'FaxNumber' THEN 1 ELSE 0 END),
            @HasURL = MAX(CASE WHEN j.[key] = N'WebsiteURL' THEN 1 ELSE 0 END),
            @HasLine1 = MAX(CASE WHEN j.[key] = N'Delivery' AND j.[type] = 0 THEN 1 ELSE 0 END)
        FROM OPENJSON(@Json) AS j;
        SET @HasLine2 = @HasLine1;
        SET @HasPostalCode = @HasLine1;

        SET @Delivery = JSON_QUERY(@Json, '$.Delivery');
        IF @Delivery IS NOT NULL
            SELECT
                @HasLine1 = MAX(CASE WHEN j.[key] = N'AddressLine1' THEN 1 ELSE 0 END),
                @HasLine2 = MAX(CASE WHEN j.[key] = N'AddressLine2' THEN 1 ELSE 0 END),
                @HasPostalCode = MAX(CASE WHEN j.[key] = N'PostalCode' THEN 1 ELSE 0 END)
            FROM OPENJSON(@Delivery) AS j;
    END;

    UPDATE Sales.Customers
    SET CustomerName = CASE WHEN @HasName = 1 THEN @CustomerName ELSE CustomerName END,
        PhoneNumber = CASE WHEN @HasPhone = 1 THEN ISNULL(@PhoneNumber, N'') ELSE PhoneNumber END,
        FaxNumber = CASE WHEN @HasFax = 1 THEN ISNULL(@FaxNumber, N'') ELSE FaxNumber END,
        WebsiteURL = CASE WHEN @HasURL = 1 THEN ISNULL(@WebsiteURL, N'') ELSE WebsiteURL END,
        DeliveryAddressLine1 = CASE
            WHEN @HasLine1 = 1 THEN ISNULL(@AddressLine1, N'') ELSE DeliveryAddressLine1
        END,
        DeliveryAddressLine2 = CASE
            WHEN @HasLine2 = 1 THEN @AddressLine2 ELSE DeliveryAddressLine2
        END,
        DeliveryPostalCode = CASE
            WHEN @HasPostalCode = 1 THEN ISNULL(@PostalCode, N'') ELSE DeliveryPostalCode
        END,
        LastEditedBy = 1
    WHERE CustomerID = @CustomerID;
END;
GO

-- In: {customer keys, "_request"}. Out: [{customer}], ETag, Replayed.
CREATE OR ALTER PROCEDURE web.put_customer
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE
        @Key nvarchar(max), @Digest nvarchar(max), @IfMatch nvarchar(max), @Replayed int,
        @Response nvarchar(max), @ETag varchar(64), @CustomerID int, @Customer nvarchar(max);

    BEGIN TRANSACTION;
    EXEC internal.find_request
        @Json, @Key OUTPUT, @Digest OUTPUT, @IfMatch OUTPUT,
        @Replayed OUTPUT, @Response OUTPUT, @ETag OUTPUT;
    IF @Replayed = 0
    BEGIN
        EXEC internal.insert_customer @Json, @CustomerID OUTPUT;
        EXEC internal.read_written_customer @CustomerID, @Customer OUTPUT, @ETag OUTPUT;
        SET @Response = N'[' + @Customer + N']';
        EXEC internal.keep_request @Key, @Digest, @Response, @ETag;
    END;
    COMMIT TRANSACTION;

    SELECT @Response AS [Json], @ETag AS [ETag], @Replayed AS [Replayed];
END;
GO

-- In: {"Customers": [{customer}, ...], "_request"}. Out: [{customer}, ...] in order, Replayed. All
-- or nothing: for the first name that exists, status 409 with its index.
CREATE OR ALTER PROCEDURE web.put_customers
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE
        @Key nvarchar(max), @Digest nvarchar(max), @IfMatch nvarchar(max), @Replayed int,
        @Response nvarchar(max), @ETag varchar(64), @CustomerID int, @Customer nvarchar(max),
        @Customers nvarchar(max), @Item nvarchar(max), @Index int = 0, @Count int,
        @Error int, @Message nvarchar(200);
    DECLARE @Items TABLE (
        Position int           NOT NULL PRIMARY KEY,
        Item     nvarchar(max) NOT NULL
    );

    BEGIN TRY
        BEGIN TRANSACTION;
        EXEC internal.find_request
            @Json, @Key OUTPUT, @Digest OUTPUT, @IfMatch OUTPUT,
            @Replayed OUTPUT, @Response OUTPUT, @ETag OUTPUT;
        IF @Replayed = 0
        BEGIN
            SET @Customers = ISNULL(JSON_QUERY(@Json, '$.Customers'), N'[]');
            INSERT INTO @Items (Position, Item)
            SELECT CAST(j.[key] AS int), j.[value]
            FROM OPENJSON(@Customers) AS j;
            SET @Count = (SELECT COUNT(*) FROM @Items);
            SET @Response = N'';
            WHILE @Index < @Count
            BEGIN
                SELECT @Item = i.Item
                FROM @Items AS i
                WHERE i.Position = @Index;
                EXEC internal.insert_customer @Item, @CustomerID OUTPUT;
                EXEC internal.read_written_customer @CustomerID, @Customer OUTPUT, @ETag OUTPUT;
                SET @Response = @Response
                    + CASE WHEN @Index > 0 THEN N',' ELSE N'' END + @Customer;
                SET @Index = @Index + 1;
            END;
            SET @Response = N'[' + @Response + N']';
            EXEC internal.keep_request @Key, @Digest, @Response, NULL;
        END;
        COMMIT TRANSACTION;
    END TRY
    BEGIN CATCH
        SET @Error = ERROR_NUMBER();
        IF @@TRANCOUNT > 0
            ROLLBACK TRANSACTION;
        IF @Error IN (2601, 2627) AND @Index < @Count
        BEGIN
            SET @Message = N'Customers[' + CAST(@Index AS nvarchar(11))
                + N']: a customer of this name exists.';
            THROW 50409, @Message, 1;
        END;
        THROW;
    END CATCH;

    SELECT @Response AS [Json], @Replayed AS [Replayed];
END;
GO

-- In: {"CustomerID", all customer keys, "_request"}. Out: [{customer}], ETag, Replayed; no row
-- if there is none.
CREATE OR ALTER PROCEDURE web.replace_customer
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    EXEC internal.change_customer @Json, 1;
END;
GO

-- In: {"CustomerID", some customer keys, "_request"}; a null clears its column. Out: as above.
CREATE OR ALTER PROCEDURE web.patch_customer
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    EXEC internal.change_customer @Json, 0;
END;
GO

CREATE OR ALTER PROCEDURE internal.change_customer
    @Json  nvarchar(max),
    @Whole int
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE
        @Key nvarchar(max), @Digest nvarchar(max), @IfMatch nvarchar(max), @Replayed int,
        @Response nvarchar(max), @ETag varchar(64), @CustomerID int, @Customer nvarchar(max),
        @Found int;

    BEGIN TRANSACTION;
    EXEC internal.find_request
        @Json, @Key OUTPUT, @Digest OUTPUT, @IfMatch OUTPUT,
        @Replayed OUTPUT, @Response OUTPUT, @ETag OUTPUT;
    IF @Replayed = 0
    BEGIN
        SELECT @CustomerID = j.CustomerID
        FROM OPENJSON(@Json) WITH (CustomerID int '$.CustomerID') AS j;
        EXEC internal.lock_customer @CustomerID, @IfMatch, @Found OUTPUT;
        IF @Found = 1
        BEGIN
            EXEC internal.update_customer @CustomerID, @Json, @Whole;
            EXEC internal.read_written_customer @CustomerID, @Customer OUTPUT, @ETag OUTPUT;
            SET @Response = N'[' + @Customer + N']';
            EXEC internal.keep_request @Key, @Digest, @Response, @ETag;
        END;
    END;
    COMMIT TRANSACTION;

    SELECT @Response AS [Json], @ETag AS [ETag], @Replayed AS [Replayed]
    WHERE @Response IS NOT NULL;
END;
GO

-- In: {"CustomerID", "_request"}. Out: [{"CustomerID": n}], Replayed; no row if there is none.
CREATE OR ALTER PROCEDURE web.delete_customer
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE
        @Key nvarchar(max), @Digest nvarchar(max), @IfMatch nvarchar(max), @Replayed int,
        @Response nvarchar(max), @ETag varchar(64), @CustomerID int, @Found int;

    BEGIN TRANSACTION;
    EXEC internal.find_request
        @Json, @Key OUTPUT, @Digest OUTPUT, @IfMatch OUTPUT,
        @Replayed OUTPUT, @Response OUTPUT, @ETag OUTPUT;
    IF @Replayed = 0
    BEGIN
        SELECT @CustomerID = j.CustomerID
        FROM OPENJSON(@Json) WITH (CustomerID int '$.CustomerID') AS j;
        EXEC internal.lock_customer @CustomerID, @IfMatch, @Found OUTPUT;
        IF @Found = 1
        BEGIN
            DELETE FROM Sales.Customers
            WHERE CustomerID = @CustomerID;
            SET @Response = N'[{"CustomerID":' + CAST(@CustomerID AS nvarchar(11)) + N'}]';
            EXEC internal.keep_request @Key, @Digest, @Response, NULL;
        END;
    END;
    COMMIT TRANSACTION;

    SELECT @Response AS [Json], @Replayed AS [Replayed]
    WHERE @Response IS NOT NULL;
END;
GO
