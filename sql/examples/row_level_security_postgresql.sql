-- Example: a caller sees and changes only the customers of its territories. A territory is the
-- beginning of a postal code. Run this as the owner of the schemas, after sql/postgresql/; it is
-- idempotent. docs/row-level-security.md explains it.
--
-- Policies do not apply to superusers and to the owner of a table. The API's functions run as their
-- owner, so the owner must be another role, one without login.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'procedures') THEN
        CREATE ROLE procedures NOLOGIN NOSUPERUSER NOBYPASSRLS;
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS sales.caller_territories (
    "Issuer"     text NOT NULL,
    "Subject"    text NOT NULL,
    "PostalCode" text NOT NULL,  -- its beginning
    CONSTRAINT "PK_Sales_CallerTerritories" PRIMARY KEY ("Issuer", "Subject", "PostalCode")
);

-- Runs as its definer, which may read the territories; a policy is evaluated as the role that reads
-- the table. False without a caller, so that a connection without one sees no customers.
CREATE OR REPLACE FUNCTION sales.caller_may_see(p_postal_code text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM sales.caller_territories t
         WHERE t."Issuer"  = nullif(current_setting('request.caller', true), '')::json ->> 'issuer'
           AND t."Subject" = nullif(current_setting('request.caller', true), '')::json ->> 'subject'
           AND starts_with(p_postal_code, t."PostalCode"))
$$;

-- A rejected change is SQLSTATE 42501, for which the procedures return status 403.
ALTER TABLE sales.customers ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS customers_of_the_caller ON sales.customers;
CREATE POLICY customers_of_the_caller ON sales.customers TO procedures
    USING (sales.caller_may_see("DeliveryPostalCode"))
    WITH CHECK (sales.caller_may_see("DeliveryPostalCode"));

GRANT USAGE ON SCHEMA web, sales, sequences TO procedures;
GRANT SELECT, INSERT, UPDATE, DELETE ON sales.customers, sales.customers_archive, web.requests
    TO procedures;
GRANT USAGE ON SEQUENCE sequences.customerid TO procedures;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA web, sales TO procedures;
-- The new owner of a function needs CREATE on the schema, while the function is transferred.
GRANT CREATE ON SCHEMA web TO procedures;
DO $$
DECLARE
    v_function regprocedure;
BEGIN
    FOR v_function IN
        SELECT p.oid FROM pg_proc p
         WHERE p.pronamespace = 'web'::regnamespace AND p.prosecdef
    LOOP
        EXECUTE format('ALTER ROUTINE %s OWNER TO procedures', v_function);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA web FROM procedures;
