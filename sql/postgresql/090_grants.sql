-- The API's role may call the procedures below and nothing else: no table, no sequence, no DDL.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$(AppName)') THEN
        CREATE ROLE "$(AppName)" LOGIN;
    END IF;
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
