-- The tools that the conformance suite of the Model Context Protocol calls by name.
CREATE SCHEMA api;

CREATE FUNCTION api.test_simple_text() RETURNS TABLE (text text) LANGUAGE sql IMMUTABLE
    AS 'SELECT ''This is a simple text response for testing.''';
COMMENT ON FUNCTION api.test_simple_text() IS 'Returns one text.';

CREATE FUNCTION api.test_error_handling() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'This tool intentionally returns an error for testing' USING ERRCODE = 'PT422';
END $$;
COMMENT ON FUNCTION api.test_error_handling() IS 'Fails.';
