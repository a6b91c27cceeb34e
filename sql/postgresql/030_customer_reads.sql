-- NULL if no part has a value, so that the object is omitted, as FOR JSON PATH does.
CREATE OR REPLACE FUNCTION web.delivery(c sales.customers) RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN num_nonnulls(c."DeliveryAddressLine1", c."DeliveryAddressLine2",
                                  c."DeliveryPostalCode") > 0
           THEN json_build_object('AddressLine1', c."DeliveryAddressLine1",
                                  'AddressLine2', c."DeliveryAddressLine2",
                                  'PostalCode',   c."DeliveryPostalCode")
           END
$$;

-- One expression without a query, so that it is inlined into its caller's query.
CREATE OR REPLACE FUNCTION web.customer_json(c sales.customers) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT json_strip_nulls(json_build_object(
               'CustomerID',   c."CustomerID",
               'CustomerName', c."CustomerName",
               'PhoneNumber',  c."PhoneNumber",
               'FaxNumber',    c."FaxNumber",
               'WebsiteURL',   c."WebsiteURL",
               'Delivery',     web.delivery(c)))::text
$$;

-- STABLE as convert_to(): declared IMMUTABLE it would not be inlined, and be planned in every
-- transaction.
CREATE OR REPLACE FUNCTION web.etag(p_json text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT left(encode(sha256(convert_to(p_json, 'UTF8')), 'hex'), 32)
$$;

CREATE OR REPLACE FUNCTION web.get_customer(p_json text, OUT "Json" text, OUT "ETag" text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT '[' || web.customer_json(c) || ']' INTO "Json"
      FROM sales.customers c
     WHERE c."CustomerID" = (p_json::json ->> 'CustomerID')::int;
    "ETag" := web.etag("Json");
END $$;

-- The rows of a page, in its order. Each sort has its own statement, planned for its own index. The
-- sort is selected from this list; text of the request is never part of a statement.
CREATE OR REPLACE FUNCTION web.customers_statement(p jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_sort  text := coalesce(p ->> 'sort', 'CustomerID');
    v_where text := 'TRUE';
    v_order text;
BEGIN
    v_order := CASE v_sort
        WHEN 'CustomerID'    THEN 'c."CustomerID"'
        WHEN '-CustomerID'   THEN 'c."CustomerID" DESC'
        WHEN 'CustomerName'  THEN 'c."CustomerName", c."CustomerID"'
        WHEN '-CustomerName' THEN 'c."CustomerName" DESC, c."CustomerID" DESC'
    END;
    IF v_order IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422', MESSAGE = 'sort is not one of the sorts offered.';
    END IF;
    IF p ->> 'after' IS NOT NULL THEN
        v_where := CASE v_sort
            WHEN 'CustomerID'    THEN 'c."CustomerID" > $1'
            WHEN '-CustomerID'   THEN 'c."CustomerID" < $1'
            WHEN 'CustomerName'  THEN '(c."CustomerName", c."CustomerID") > ($2, $1)'
            WHEN '-CustomerName' THEN '(c."CustomerName", c."CustomerID") < ($2, $1)'
        END;
    END IF;
    IF p ->> 'name' IS NOT NULL THEN
        v_where := v_where || ' AND position($3 IN c."CustomerName") > 0';
    END IF;
    RETURN 'SELECT c, c."CustomerID", c."CustomerName" FROM sales.customers c WHERE ' || v_where || ' ORDER BY ' || v_order;
END $$;

-- Runs as its definer: a cursor's query runs as the role that fetches, and the API's role may only
-- call procedures.
CREATE OR REPLACE FUNCTION web.customer_fields_json(c sales.customers, p_fields text[])
RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT json_strip_nulls(row_to_json(t))::text
          FROM (SELECT CASE WHEN 'CustomerID'   = ANY (p_fields) THEN c."CustomerID"   END AS "CustomerID",
                       CASE WHEN 'CustomerName' = ANY (p_fields) THEN c."CustomerName" END AS "CustomerName",
                       CASE WHEN 'PhoneNumber'  = ANY (p_fields) THEN c."PhoneNumber"  END AS "PhoneNumber",
                       CASE WHEN 'FaxNumber'    = ANY (p_fields) THEN c."FaxNumber"    END AS "FaxNumber",
                       CASE WHEN 'WebsiteURL'   = ANY (p_fields) THEN c."WebsiteURL"   END AS "WebsiteURL",
                       CASE WHEN 'Delivery'     = ANY (p_fields) THEN web.delivery(c)  END AS "Delivery") t);
END $$;

CREATE OR REPLACE FUNCTION web.fields(p jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce((SELECT array_agg(f) FROM jsonb_array_elements_text(p -> 'fields') f),
                    ARRAY['CustomerID', 'CustomerName'])
$$;

-- The JSON of one row of a list, as an expression over the columns of customers_statement().
CREATE OR REPLACE FUNCTION web.item_expression(p_fields text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_fields = ARRAY['CustomerID', 'CustomerName']
        THEN $i$'{"CustomerID":' || "CustomerID" || ',"CustomerName":' || to_json("CustomerName") || '}'$i$
        ELSE 'web.customer_fields_json(c, $4)' END
$$;

CREATE OR REPLACE FUNCTION web.get_customers(p_json text, OUT "Json" text, OUT "Next" text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p        jsonb  := coalesce(p_json, '{}')::jsonb;
    v_fields text[] := web.fields(p);
    v_limit  bigint := nullif((p ->> 'limit')::bigint, 0);
BEGIN
    -- One row more than requested shows whether there is a next page.
    EXECUTE format(
        $q$SELECT '[' || coalesce(string_agg(%s, ',' ORDER BY n) FILTER (WHERE n <= $5), '') || ']',
                  CASE WHEN count(*) > $5 THEN max(%s) FILTER (WHERE n = $5) END
             FROM (SELECT *, row_number() OVER () AS n FROM (%s LIMIT $5 + 1) page) numbered$q$,
        web.item_expression(v_fields),
        CASE WHEN p ->> 'sort' LIKE '%CustomerName'
             THEN $n$"CustomerID" || ':' || "CustomerName"$n$
             ELSE '"CustomerID"::text' END,
        web.customers_statement(p))
       INTO "Json", "Next"
      USING split_part(p ->> 'after', ':', 1)::integer,
            substr(p ->> 'after', strpos(p ->> 'after', ':') + 1),
            p ->> 'name', v_fields, coalesce(v_limit, 9223372036854775806);
END $$;

-- The same list for streaming: a cursor with one JSON object per row, available as it is read.
CREATE OR REPLACE FUNCTION web.get_customers_rows(p_json text) RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p      jsonb := coalesce(p_json, '{}')::jsonb;
    v_rows refcursor;
BEGIN
    OPEN v_rows NO SCROLL FOR EXECUTE format(
        'SELECT %s AS "Json" FROM (%s LIMIT $5) page',
        web.item_expression(web.fields(p)), web.customers_statement(p))
      USING split_part(p ->> 'after', ':', 1)::integer,
            substr(p ->> 'after', strpos(p ->> 'after', ':') + 1),
            p ->> 'name', web.fields(p), nullif((p ->> 'limit')::bigint, 0);
    RETURN v_rows;
END $$;
