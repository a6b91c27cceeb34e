-- The API's role may call the procedures below and read one table: no other table, no sequence, no
-- DDL, not even a temporary table.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$(AppName)') THEN
        CREATE ROLE "$(AppName)" LOGIN;
    END IF;
END $$;

-- The database is the API's own: what PUBLIC may do in it, its role may do.
DO $$
BEGIN
    EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END $$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA web, dbo, sales FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

GRANT USAGE ON SCHEMA web, dbo TO "$(AppName)";
GRANT EXECUTE ON FUNCTION
    web.get_customer(text), web.put_customer(text), web.put_customers(text),
    web.replace_customer(text), web.patch_customer(text), web.delete_customer(text),
    web.get_customers(text), web.get_customers_rows(text), web.delete_expired_requests(text),
    dbo.get_taxidata(text), dbo.get_taxidata_rows(text),
    dbo."get_taxidataAmount"(text), dbo."get_taxidataAmount_rows"(text),
    dbo."get_taxidataSummary"(text)
TO "$(AppName)";

-- SQLAlchemy reads by statements of its own, so it needs the table itself.
GRANT SELECT ON dbo.titanic_passanger TO "$(AppName)";
