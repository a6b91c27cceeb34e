-- Each write is one transaction: look the key up, check If-Match, write, store the response, return
-- it.

-- Where the request has If-Match: locks the customer and refuses the request if the tag differs.
-- Without it the write's own statement locks the row, and a call of this costs as much as the write.
CREATE OR REPLACE FUNCTION web.lock_customer(p jsonb) RETURNS SETOF sales.customers
LANGUAGE plpgsql AS $$
DECLARE
    v_if_match text := p -> '_request' ->> 'if_match';
    v_customer sales.customers;
BEGIN
    SELECT * INTO v_customer FROM sales.customers c
     WHERE c."CustomerID" = (p ->> 'CustomerID')::int FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_if_match <> web.etag('[' || web.customer_json(v_customer) || ']') THEN
        RAISE EXCEPTION USING ERRCODE = 'PT412',
            MESSAGE = 'The customer has changed since it was read.';
    END IF;
    RETURN NEXT v_customer;
END $$;

-- For the handler of a write that failed for lack of a privilege. A row that a policy hides or
-- rejects fails in the same way, and then the client gets the reason. All writes of the call are
-- rolled back.
CREATE OR REPLACE FUNCTION web.refuse_hidden_row() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF row_security_active('sales.customers') THEN
        RAISE EXCEPTION USING ERRCODE = 'PT403', MESSAGE =
            'A row-level security policy hides or forbids the customer that this request writes.';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION web.insert_customer(p jsonb) RETURNS sales.customers
LANGUAGE plpgsql AS $$
DECLARE
    v_customer sales.customers;
BEGIN
    INSERT INTO sales.customers
        ("CustomerName", "PhoneNumber", "FaxNumber", "WebsiteURL",
         "DeliveryAddressLine1", "DeliveryAddressLine2", "DeliveryPostalCode")
    VALUES (p ->> 'CustomerName', nullif(p ->> 'PhoneNumber', ''), nullif(p ->> 'FaxNumber', ''),
            nullif(p ->> 'WebsiteURL', ''), nullif(p #>> '{Delivery,AddressLine1}', ''),
            nullif(p #>> '{Delivery,AddressLine2}', ''), nullif(p #>> '{Delivery,PostalCode}', ''))
    RETURNING * INTO v_customer;
    RETURN v_customer;
EXCEPTION WHEN insufficient_privilege THEN
    PERFORM web.refuse_hidden_row();
    RAISE;
END $$;

CREATE OR REPLACE FUNCTION web.put_customer(
    p_json text, OUT "Json" text, OUT "ETag" text, OUT "Replayed" integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p          jsonb := p_json::jsonb;
    v_customer sales.customers;
BEGIN
    SELECT * INTO "Json", "ETag", "Replayed" FROM web.replay(p -> '_request');
    IF "Replayed" = 1 THEN
        RETURN;
    END IF;
    -- In two steps: customer_json() is inlined for a variable, not for a call.
    v_customer := web.insert_customer(p);
    "Json" := '[' || web.customer_json(v_customer) || ']';
    "ETag" := web.etag("Json");
    "Replayed" := 0;
    PERFORM web.remember(p -> '_request', "Json", "ETag");
END $$;

CREATE OR REPLACE FUNCTION web.put_customers(
    p_json text, OUT "Json" text, OUT "Replayed" integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p          jsonb  := p_json::jsonb;
    v_items    text[] := '{}';
    v_item     record;
    v_customer sales.customers;
BEGIN
    SELECT r."Json", r."Replayed" INTO "Json", "Replayed" FROM web.replay(p -> '_request') r;
    IF "Replayed" = 1 THEN
        RETURN;
    END IF;
    FOR v_item IN SELECT e.value AS customer, e.ordinality - 1 AS index
                    FROM jsonb_array_elements(p -> 'Customers') WITH ORDINALITY e LOOP
        BEGIN
            v_customer := web.insert_customer(v_item.customer);
            v_items := v_items || web.customer_json(v_customer);
        EXCEPTION WHEN unique_violation THEN
            RAISE EXCEPTION USING ERRCODE = 'PT409',
                MESSAGE = format('Customers[%s]: a customer of this name exists.', v_item.index);
        END;
    END LOOP;
    "Json" := '[' || array_to_string(v_items, ',') || ']';
    "Replayed" := 0;
    PERFORM web.remember(p -> '_request', "Json", NULL);
END $$;

CREATE OR REPLACE FUNCTION web.replace_customer(
    p_json text, OUT "Json" text, OUT "ETag" text, OUT "Replayed" integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p jsonb := p_json::jsonb;
BEGIN
    SELECT * INTO "Json", "ETag", "Replayed" FROM web.replay(p -> '_request');
    IF "Replayed" = 1 THEN
        RETURN;
    END IF;
    IF p #>> '{_request,if_match}' IS NOT NULL THEN
        PERFORM web.lock_customer(p);
    END IF;
    UPDATE sales.customers c
       SET "CustomerName"         = p ->> 'CustomerName',
           "PhoneNumber"          = nullif(p ->> 'PhoneNumber', ''),
           "FaxNumber"            = nullif(p ->> 'FaxNumber', ''),
           "WebsiteURL"           = nullif(p ->> 'WebsiteURL', ''),
           "DeliveryAddressLine1" = nullif(p #>> '{Delivery,AddressLine1}', ''),
           "DeliveryAddressLine2" = nullif(p #>> '{Delivery,AddressLine2}', ''),
           "DeliveryPostalCode"   = nullif(p #>> '{Delivery,PostalCode}', '')
     WHERE c."CustomerID" = (p ->> 'CustomerID')::int
    RETURNING '[' || web.customer_json(c) || ']' INTO "Json";
    IF NOT FOUND THEN
        RETURN;
    END IF;
    "ETag" := web.etag("Json");
    "Replayed" := 0;
    PERFORM web.remember(p -> '_request', "Json", "ETag");
EXCEPTION WHEN insufficient_privilege THEN
    PERFORM web.refuse_hidden_row();
    RAISE;
END $$;

-- The value of a key of a patch: an absent key leaves the column, null clears it.
CREATE OR REPLACE FUNCTION web.patched(p jsonb, p_key text, p_current text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p ? p_key THEN nullif(p ->> p_key, '') ELSE p_current END
$$;

CREATE OR REPLACE FUNCTION web.patch_customer(
    p_json text, OUT "Json" text, OUT "ETag" text, OUT "Replayed" integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p          jsonb := p_json::jsonb;
    v_delivery jsonb := '{}';
BEGIN
    SELECT * INTO "Json", "ETag", "Replayed" FROM web.replay(p -> '_request');
    IF "Replayed" = 1 THEN
        RETURN;
    END IF;
    IF p #>> '{_request,if_match}' IS NOT NULL THEN
        PERFORM web.lock_customer(p);
    END IF;
    IF jsonb_typeof(p -> 'Delivery') = 'null' THEN
        v_delivery := '{"AddressLine1":null,"AddressLine2":null,"PostalCode":null}';
    ELSIF p ? 'Delivery' THEN
        v_delivery := p -> 'Delivery';
    END IF;
    UPDATE sales.customers c
       SET "CustomerName"         = web.patched(p, 'CustomerName', c."CustomerName"),
           "PhoneNumber"          = web.patched(p, 'PhoneNumber', c."PhoneNumber"),
           "FaxNumber"            = web.patched(p, 'FaxNumber', c."FaxNumber"),
           "WebsiteURL"           = web.patched(p, 'WebsiteURL', c."WebsiteURL"),
           "DeliveryAddressLine1" = web.patched(v_delivery, 'AddressLine1', c."DeliveryAddressLine1"),
           "DeliveryAddressLine2" = web.patched(v_delivery, 'AddressLine2', c."DeliveryAddressLine2"),
           "DeliveryPostalCode"   = web.patched(v_delivery, 'PostalCode', c."DeliveryPostalCode")
     WHERE c."CustomerID" = (p ->> 'CustomerID')::int
    RETURNING '[' || web.customer_json(c) || ']' INTO "Json";
    IF NOT FOUND THEN
        RETURN;
    END IF;
    "ETag" := web.etag("Json");
    "Replayed" := 0;
    PERFORM web.remember(p -> '_request', "Json", "ETag");
EXCEPTION WHEN insufficient_privilege THEN
    PERFORM web.refuse_hidden_row();
    RAISE;
END $$;

CREATE OR REPLACE FUNCTION web.delete_customer(
    p_json text, OUT "Json" text, OUT "Replayed" integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p jsonb := p_json::jsonb;
BEGIN
    SELECT r."Json", r."Replayed" INTO "Json", "Replayed" FROM web.replay(p -> '_request') r;
    IF "Replayed" = 1 THEN
        RETURN;
    END IF;
    IF p #>> '{_request,if_match}' IS NOT NULL THEN
        PERFORM web.lock_customer(p);
    END IF;
    DELETE FROM sales.customers c WHERE c."CustomerID" = (p ->> 'CustomerID')::int
    RETURNING format('[{"CustomerID":%s}]', c."CustomerID") INTO "Json";
    IF NOT FOUND THEN
        RETURN;
    END IF;
    "Replayed" := 0;
    PERFORM web.remember(p -> '_request', "Json", NULL);
END $$;
