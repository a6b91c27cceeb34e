-- The keys of writes that the API does once, for procedures of any schema. Safe to run again.
IF SCHEMA_ID(N'procedures_api') IS NULL
    EXEC (N'CREATE SCHEMA procedures_api');
GO

IF OBJECT_ID(N'procedures_api.requests') IS NULL
BEGIN
    CREATE TABLE procedures_api.requests (
        -- A key is bytes, not words: 'A' and 'a' are two keys whatever the database's collation.
        RequestKey nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL,
        Digest     char(64)      NOT NULL,
        Status     int           NULL,
        Headers    nvarchar(max) NULL,
        Response   nvarchar(max) NULL,
        CreatedAt  datetime2(7)  NOT NULL
            CONSTRAINT DF_procedures_api_requests_CreatedAt DEFAULT (SYSUTCDATETIME()),
        CONSTRAINT PK_procedures_api_requests PRIMARY KEY (RequestKey)
    );

    CREATE INDEX IX_procedures_api_requests_CreatedAt ON procedures_api.requests (CreatedAt);
END;
GO
