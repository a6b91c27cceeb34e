-- Idempotency: the key of a write, a digest of its request, and its response, stored in the
-- transaction of the write.
CREATE TABLE IF NOT EXISTS web.requests (
    "RequestKey" text        NOT NULL,
    "Digest"     char(64)    NOT NULL,
    "Response"   text        NOT NULL,
    "ETag"       text,
    "CreatedAt"  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT "PK_web_requests" PRIMARY KEY ("RequestKey")
);
CREATE INDEX IF NOT EXISTS "IX_web_requests_CreatedAt" ON web.requests ("CreatedAt");

-- The stored response of a repeated key; "Replayed" is NULL for a new key. Until the end of the
-- transaction, a concurrent request with the same key waits here.
-- Without enable_seqscan = off, a session that first called this while VACUUM had found the table
-- empty would keep a plan that reads the whole table.
CREATE OR REPLACE FUNCTION web.replay(
    p_request jsonb, OUT "Json" text, OUT "ETag" text, OUT "Replayed" integer)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    v_digest text;
BEGIN
    IF p_request ->> 'key' IS NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(p_request ->> 'key', 0));
    SELECT r."Response", r."ETag", r."Digest" INTO "Json", "ETag", v_digest
      FROM web.requests r WHERE r."RequestKey" = p_request ->> 'key';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_digest IS DISTINCT FROM p_request ->> 'digest' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = 'Idempotency-Key was used with another request.';
    END IF;
    "Replayed" := 1;
END $$;

CREATE OR REPLACE FUNCTION web.remember(p_request jsonb, p_response text, p_etag text)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF p_request ->> 'key' IS NOT NULL THEN
        INSERT INTO web.requests ("RequestKey", "Digest", "Response", "ETag")
        VALUES (p_request ->> 'key', p_request ->> 'digest', p_response, p_etag);
    END IF;
END $$;

-- Raises KEY02 unless the key of a write after p_since is stored here: a replica that lacks the
-- write does not run the read behind it in the same message.
CREATE OR REPLACE PROCEDURE web.require_request(p_key text, p_since timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM web.requests AS r
                    WHERE r."RequestKey" = p_key AND r."CreatedAt" > p_since) THEN
        RAISE EXCEPTION USING ERRCODE = 'KEY02', MESSAGE = 'The write is not here yet.';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION web.delete_expired_requests(p_json text, OUT "Json" text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_deleted bigint;
BEGIN
    DELETE FROM web.requests
     WHERE "CreatedAt" < clock_timestamp()
           - make_interval(hours => coalesce((p_json::jsonb ->> 'older_than_hours')::int, 24));
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    "Json" := format('[{"deleted":%s}]', v_deleted);
END $$;
