-- The embedded database only: procedures of the schema api become routes as soon as they exist,
-- so what the owner creates here, the API may use.
CREATE SCHEMA IF NOT EXISTS api;
GRANT USAGE ON SCHEMA api TO "$(AppName)";
ALTER DEFAULT PRIVILEGES IN SCHEMA api GRANT EXECUTE ON ROUTINES TO "$(AppName)";
ALTER DEFAULT PRIVILEGES IN SCHEMA api GRANT ALL ON TABLES TO "$(AppName)";
ALTER DEFAULT PRIVILEGES IN SCHEMA api GRANT ALL ON SEQUENCES TO "$(AppName)";
