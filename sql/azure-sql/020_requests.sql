-- Idempotency: the key of a write, a digest of its request, and its response, stored in the
-- transaction of the write.
IF OBJECT_ID(N'web.requests') IS NULL
BEGIN
    CREATE TABLE web.requests (
        -- Compares bytes: 'A' and 'a' are two keys in every collation of the database.
        RequestKey nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL,
        Digest     char(64)      NOT NULL,
        Response   nvarchar(max) NOT NULL,
        ETag       varchar(64)   NULL,
        CreatedAt  datetime2(7)  NOT NULL
            CONSTRAINT DF_web_requests_CreatedAt DEFAULT (SYSUTCDATETIME()),
        CONSTRAINT PK_web_requests PRIMARY KEY (RequestKey)
    );

    CREATE INDEX IX_web_requests_CreatedAt ON web.requests (CreatedAt);
END;
GO

-- Reads _request from a document and looks up its key. To be called inside the write's transaction:
-- until that ends, a concurrent request with the same key waits here. @Replayed is 1 for a repeated
-- key; @Response and @ETag are then the stored response.
CREATE OR ALTER PROCEDURE internal.find_request
    @Json     nvarchar(max),
    @Key      nvarchar(max) OUTPUT,
    @Digest   nvarchar(max) OUTPUT,
    @IfMatch  nvarchar(max) OUTPUT,
    @Replayed int OUTPUT,
    @Response nvarchar(max) OUTPUT,
    @ETag     varchar(64) OUTPUT
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @StoredDigest char(64);

    SET @Replayed = 0;
    SELECT
        @Key = r.RequestKey,
        @Digest = r.Digest,
        @IfMatch = r.IfMatch
    FROM OPENJSON(@Json) WITH (
        RequestKey nvarchar(max) '$._request.key',
        Digest     nvarchar(max) '$._request.digest',
        IfMatch    nvarchar(max) '$._request.if_match'
    ) AS r;

    IF DATALENGTH(@Key) > 510
    BEGIN
        THROW 50400, N'Idempotency-Key is longer than 255 characters.', 1;
    END;

    IF @Key IS NOT NULL
    BEGIN
        SELECT
            @StoredDigest = r.Digest,
            @Response = r.Response,
            @ETag = r.ETag,
            @Replayed = 1
        FROM web.requests AS r WITH (UPDLOCK, HOLDLOCK)
        WHERE r.RequestKey = CAST(@Key AS nvarchar(255));

        IF @Replayed = 1 AND @StoredDigest <> ISNULL(@Digest, N'')
        BEGIN
            THROW 50422, N'Idempotency-Key was used with another request.', 1;
        END;
    END;
END;
GO

CREATE OR ALTER PROCEDURE internal.keep_request
    @Key      nvarchar(max),
    @Digest   nvarchar(max),
    @Response nvarchar(max),
    @ETag     varchar(64)
AS
BEGIN
    SET NOCOUNT ON;
    IF @Key IS NOT NULL
        INSERT INTO web.requests (RequestKey, Digest, Response, ETag)
        VALUES (@Key, ISNULL(@Digest, N''), @Response, @ETag);
END;
GO

-- Throws 59267 unless the key of a write after @Since is stored here: a replica that lacks the write
-- does not run the read behind it in the same batch.
CREATE OR ALTER PROCEDURE web.require_request
    @Key   nvarchar(255),
    @Since datetime2(0)
AS
BEGIN
    SET NOCOUNT ON;
    IF NOT EXISTS (
        SELECT 1
        FROM web.requests AS r
        WHERE r.RequestKey = @Key AND r.CreatedAt > @Since
    )
    BEGIN
        THROW 59267, N'The write is not here yet.', 1;
    END;
END;
GO

-- In: {"older_than_hours": 24}. Out: [{"deleted": n}].
CREATE OR ALTER PROCEDURE web.delete_expired_requests
    @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @Hours int, @Before datetime2(7), @Portion int = 1, @Deleted bigint = 0;

    SELECT @Hours = j.OlderThanHours
    FROM OPENJSON(@Json) WITH (OlderThanHours int '$.older_than_hours') AS j;
    SET @Before = DATEADD(hour, -ISNULL(@Hours, 24), SYSUTCDATETIME());

    -- In portions of fewer than 5,000 locks, beyond which SQL Server locks the whole table.
    WHILE @Portion > 0
    BEGIN
        DELETE FROM web.requests
        WHERE RequestKey IN (
            SELECT TOP (2000) r.RequestKey
            FROM web.requests AS r
            WHERE r.CreatedAt < @Before
            ORDER BY r.CreatedAt
        );
        SET @Portion = @@ROWCOUNT;
        SET @Deleted = @Deleted + @Portion;
    END;

    SELECT N'[{"deleted":' + CAST(@Deleted AS nvarchar(20)) + N'}]' AS [Json];
END;
GO
