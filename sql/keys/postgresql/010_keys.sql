-- The keys of writes that the API does once, for procedures of any schema. Safe to run again.
-- The API's role calls these functions only; it has no right to the table.
CREATE SCHEMA IF NOT EXISTS procedures_api;

CREATE TABLE IF NOT EXISTS procedures_api.requests (
    request_key text        NOT NULL PRIMARY KEY,
    digest      char(64)    NOT NULL,
    status      integer,
    headers     text,
    response    text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS requests_created_at ON procedures_api.requests (created_at);

-- Remembers a new key until the end of the transaction, which the write shares. A known key is an
-- error, so that nothing after it in the same message runs; a twin waits for the first one's end.
CREATE OR REPLACE FUNCTION procedures_api.claim(p_key text, p_digest text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO procedures_api.requests (request_key, digest) VALUES (p_key, p_digest)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'KEY01', MESSAGE = 'The idempotency key is known.';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION procedures_api.find_response(
    p_key text, OUT digest text, OUT status integer, OUT headers text, OUT response text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.digest, r.status, r.headers, r.response
      FROM procedures_api.requests AS r WHERE r.request_key = p_key
$$;

-- In PL/pgSQL, which keeps the plan; and with enable_seqscan = off, because a plan made while VACUUM
-- had found the table empty would read the whole table.
CREATE OR REPLACE FUNCTION procedures_api.keep_response(
    p_key text, p_status integer, p_headers text, p_response text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
BEGIN
    UPDATE procedures_api.requests SET status = p_status, headers = p_headers, response = p_response
     WHERE request_key = p_key;
END $$;

-- Raises KEY02 unless the key of a write after p_since is stored here. In front of a read on a
-- replica: nothing after it in the same message runs, if the replica lacks the write. A procedure,
-- because CALL sends no result, which costs less than a function's.
CREATE OR REPLACE PROCEDURE procedures_api.require_key(p_key text, p_since timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM procedures_api.requests AS r
                    WHERE r.request_key = p_key AND r.created_at > p_since) THEN
        RAISE EXCEPTION USING ERRCODE = 'KEY02', MESSAGE = 'The write is not here yet.';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION procedures_api.delete_expired(p_hours integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_deleted bigint;
BEGIN
    DELETE FROM procedures_api.requests
     WHERE created_at < clock_timestamp() - make_interval(hours => p_hours);
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    RETURN v_deleted;
END $$;

REVOKE ALL ON ALL ROUTINES IN SCHEMA procedures_api FROM PUBLIC;
