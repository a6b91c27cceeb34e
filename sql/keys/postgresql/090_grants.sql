-- The API's role, which calls these routines and reads no table.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$(AppName)') THEN
        CREATE ROLE "$(AppName)" LOGIN;
    END IF;
END $$;

GRANT USAGE ON SCHEMA procedures_api TO "$(AppName)";
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA procedures_api TO "$(AppName)";
