-- The matching trips in a total order, whose first column, the pick-up time, has an index.
CREATE OR REPLACE FUNCTION dbo.trips_statement(p jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN 'SELECT "VendorID", tpep_pickup_datetime, tpep_dropoff_datetime, passenger_count,'
        || ' trip_distance, "RatecodeID", store_and_fwd_flag, "PULocationID", "DOLocationID",'
        || ' payment_type, fare_amount, extra, mta_tax, tip_amount, tolls_amount,'
        || ' improvement_surcharge, total_amount, congestion_surcharge'
        || ' FROM dbo.taxidata WHERE TRUE'
        || CASE WHEN p ->> 'total_amount' IS NULL THEN '' ELSE ' AND total_amount = $1' END
        || CASE WHEN p ->> 'pickup_from' IS NULL THEN '' ELSE ' AND tpep_pickup_datetime >= $2' END
        || CASE WHEN p ->> 'pickup_to' IS NULL THEN '' ELSE ' AND tpep_pickup_datetime < $3' END
        || CASE WHEN p ->> 'payment_type' IS NULL THEN '' ELSE ' AND payment_type = $4' END
        || CASE WHEN p ->> 'PULocationID' IS NULL THEN '' ELSE ' AND "PULocationID" = $5' END
        || ' ORDER BY tpep_pickup_datetime, tpep_dropoff_datetime, "VendorID", "PULocationID",'
        || ' "DOLocationID", total_amount, trip_distance, fare_amount, tip_amount, payment_type, id'
        || ' LIMIT $6 OFFSET $7';
END $$;

CREATE OR REPLACE FUNCTION dbo.get_taxidata_rows(p_json text) RETURNS refcursor
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p      jsonb := coalesce(p_json, '{}')::jsonb;
    v_rows refcursor;
BEGIN
    OPEN v_rows NO SCROLL FOR EXECUTE format(
        'SELECT row_to_json(t)::text AS "Json" FROM (%s) t', dbo.trips_statement(p))
      USING (p ->> 'total_amount')::double precision, (p ->> 'pickup_from')::timestamp,
            (p ->> 'pickup_to')::timestamp, (p ->> 'payment_type')::smallint,
            (p ->> 'PULocationID')::integer,
            nullif(coalesce((p ->> 'limit')::bigint, 1000), 0), (p ->> 'offset')::bigint;
    RETURN v_rows;
END $$;

CREATE OR REPLACE FUNCTION dbo.get_taxidata(p_json text, OUT "Json" text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p jsonb := coalesce(p_json, '{}')::jsonb;
BEGIN
    EXECUTE format(
        $q$SELECT '[' || coalesce(string_agg(row_to_json(t)::text, ','), '') || ']' FROM (%s) t$q$,
        dbo.trips_statement(p))
       INTO "Json"
      USING (p ->> 'total_amount')::double precision, (p ->> 'pickup_from')::timestamp,
            (p ->> 'pickup_to')::timestamp, (p ->> 'payment_type')::smallint,
            (p ->> 'PULocationID')::integer,
            nullif(coalesce((p ->> 'limit')::bigint, 1000), 0), (p ->> 'offset')::bigint;
END $$;

CREATE OR REPLACE FUNCTION dbo."get_taxidataAmount"(p_json text, OUT "Json" text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT dbo.get_taxidata(p_json)
$$;

CREATE OR REPLACE FUNCTION dbo."get_taxidataAmount_rows"(p_json text) RETURNS refcursor
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT dbo.get_taxidata_rows(p_json)
$$;

CREATE OR REPLACE FUNCTION dbo."get_taxidataSummary"(p_json text, OUT "Json" text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_by  text := p_json::json ->> 'by';
    v_key text := CASE v_by
        WHEN 'hour'         THEN 'extract(hour FROM tpep_pickup_datetime)::int'
        WHEN 'weekday'      THEN 'extract(isodow FROM tpep_pickup_datetime)::int'
        WHEN 'payment_type' THEN 'payment_type'
    END;
BEGIN
    IF v_key IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT422',
            MESSAGE = 'by is one of hour, weekday and payment_type.';
    END IF;
    EXECUTE format(
        $q$SELECT '[' || coalesce(string_agg(row_to_json(t)::text, ','), '') || ']'
             FROM (SELECT %s AS %I, count(*) AS trips,
                          round(sum(fare_amount)::numeric, 2) AS fare_amount,
                          round(sum(tip_amount)::numeric, 2) AS tip_amount,
                          round(sum(total_amount)::numeric, 2) AS total_amount
                     FROM dbo.taxidata GROUP BY 1 ORDER BY 1) t$q$, v_key, v_by) INTO "Json";
END $$;
