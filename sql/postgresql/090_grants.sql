-- The API's role may call the procedures below and read one table, and has no other rights. An
-- existing role and its password stay unchanged.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$(AppName)') THEN
        CREATE ROLE "$(AppName)" LOGIN;
    END IF;
END $$;

-- By default PUBLIC may execute a new function. This is revoked for the functions of these scripts
-- only; other rights of PUBLIC in the database stay unchanged.
REVOKE ALL ON FUNCTION
    web.replay(jsonb), web.remember(jsonb, text, text), web.delete_expired_requests(text),
    web.delivery(sales.customers), web.customer_json(sales.customers), web.etag(text),
    web.customer_fields_json(sales.customers, text[]), web.fields(jsonb),
    web.item_expression(text[]), web.customers_statement(jsonb), web.get_customer(text),
    web.get_customers(text), web.get_customers_rows(text), web.lock_customer(jsonb),
    web.refuse_hidden_row(), web.insert_customer(jsonb), web.patched(jsonb, text, text),
    web.put_customer(text), web.put_customers(text), web.replace_customer(text),
    web.patch_customer(text), web.delete_customer(text), sales.keep_history(),
    dbo.trips_statement(jsonb), dbo.get_taxidata(text), dbo.get_taxidata_rows(text),
    dbo."get_taxidataAmount"(text), dbo."get_taxidataAmount_rows"(text),
    dbo."get_taxidataSummary"(text)
FROM PUBLIC;
REVOKE ALL ON PROCEDURE web.require_request(text, timestamptz) FROM PUBLIC;

GRANT USAGE ON SCHEMA web, dbo TO "$(AppName)";
GRANT EXECUTE ON FUNCTION
    web.get_customer(text), web.put_customer(text), web.put_customers(text),
    web.replace_customer(text), web.patch_customer(text), web.delete_customer(text),
    web.get_customers(text), web.get_customers_rows(text), web.delete_expired_requests(text),
    dbo.get_taxidata(text), dbo.get_taxidata_rows(text),
    dbo."get_taxidataAmount"(text), dbo."get_taxidataAmount_rows"(text),
    dbo."get_taxidataSummary"(text)
TO "$(AppName)";
GRANT EXECUTE ON PROCEDURE web.require_request(text, timestamptz) TO "$(AppName)";

-- SQLAlchemy sends its own statements, so it needs the table.
GRANT SELECT ON dbo.titanic_passanger TO "$(AppName)";
