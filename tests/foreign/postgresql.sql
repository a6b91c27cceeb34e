-- Procedures that know nothing of this API, for PostgreSQL; sqlserver.sql has the twin of each.
DROP SCHEMA IF EXISTS shop CASCADE;
CREATE SCHEMA shop;

CREATE TABLE shop.orders (
    order_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer varchar(40)    NOT NULL,
    amount   numeric(10, 2) NOT NULL CHECK (amount >= 0),
    note     text,
    approved boolean        NOT NULL DEFAULT false
);
CREATE TABLE shop.labels (label varchar(60) NOT NULL UNIQUE);
CREATE TABLE shop.marks (label varchar(60) NOT NULL);
-- What a function returns needs a type of its own where a column has a parameter's name.
CREATE TYPE shop.pair AS (first int, second varchar(20));

-- Every verb of the convention.
CREATE TYPE shop.get_order_row AS (order_id int, customer varchar, amount numeric(10, 2), note text, approved boolean);
CREATE FUNCTION shop.get_order(order_id int) RETURNS SETOF shop.get_order_row
LANGUAGE sql STABLE AS 'SELECT o.order_id, customer, amount, note, approved FROM shop.orders o WHERE o.order_id = $1';
CREATE TYPE shop.get_orders_row AS (order_id int, customer varchar, amount numeric(10, 2));
CREATE FUNCTION shop.get_orders(customer varchar(40) DEFAULT NULL, after int DEFAULT 0) RETURNS SETOF shop.get_orders_row
LANGUAGE sql STABLE AS 'SELECT o.order_id, o.customer, o.amount FROM shop.orders o
    WHERE (o.customer = $1 OR $1 IS NULL) AND o.order_id > $2 ORDER BY o.order_id';
CREATE TYPE shop.create_order_row AS (order_id int, customer varchar, amount numeric(10, 2), note text);
CREATE FUNCTION shop.create_order(customer varchar(40), amount numeric(10, 2), note text DEFAULT NULL) RETURNS SETOF shop.create_order_row
LANGUAGE sql AS 'INSERT INTO shop.orders (customer, amount, note) VALUES ($1, $2, $3)
    RETURNING order_id, customer, amount, note';
CREATE TYPE shop.replace_order_row AS (order_id int, customer varchar, amount numeric(10, 2));
CREATE FUNCTION shop.replace_order(order_id int, customer varchar(40), amount numeric(10, 2)) RETURNS SETOF shop.replace_order_row
LANGUAGE sql AS 'UPDATE shop.orders o SET customer = $2, amount = $3, note = NULL WHERE o.order_id = $1
    RETURNING o.order_id, o.customer, o.amount';
CREATE TYPE shop.update_order_row AS (order_id int, amount numeric(10, 2));
CREATE FUNCTION shop.update_order(order_id int, amount numeric(10, 2)) RETURNS SETOF shop.update_order_row
LANGUAGE sql AS 'UPDATE shop.orders o SET amount = $2 WHERE o.order_id = $1 RETURNING o.order_id, o.amount';
CREATE TYPE shop.delete_order_row AS (order_id int);
CREATE FUNCTION shop.delete_order(order_id int) RETURNS SETOF shop.delete_order_row
LANGUAGE sql AS 'DELETE FROM shop.orders o WHERE o.order_id = $1 RETURNING o.order_id';
CREATE PROCEDURE shop.approve_order(order_id int)
LANGUAGE sql AS 'UPDATE shop.orders o SET approved = true WHERE o.order_id = $1';
CREATE PROCEDURE shop.recalculate() LANGUAGE sql AS '';
CREATE FUNCTION shop.lines_of(order_id int) RETURNS TABLE (line int)
LANGUAGE sql STABLE AS 'SELECT generate_series(1, $1)';
COMMENT ON FUNCTION shop.lines_of IS 'The lines of an order.
@route GET /orders/{order_id}/lines
@param order_id The order''s number.';
CREATE FUNCTION shop.get_hidden() RETURNS TABLE (n int) LANGUAGE sql STABLE AS 'SELECT 1';
COMMENT ON FUNCTION shop.get_hidden IS '@private';
CREATE FUNCTION shop.calculate_price(amount numeric(10, 2), tax numeric(5, 2) DEFAULT 19)
RETURNS TABLE (price numeric(12, 2)) LANGUAGE sql AS 'SELECT round($1 * (1 + $2 / 100), 2)';
COMMENT ON FUNCTION shop.calculate_price IS '@readonly';

-- Every type, given back.
CREATE TYPE shop.get_integers_row AS (a smallint, b int, c bigint);
CREATE FUNCTION shop.get_integers(a smallint, b int, c bigint) RETURNS SETOF shop.get_integers_row LANGUAGE sql STABLE AS 'SELECT $1, $2, $3';
CREATE TYPE shop.get_decimals_row AS (a numeric(18, 4), b numeric(38, 10));
CREATE FUNCTION shop.get_decimals(a numeric(18, 4), b numeric(38, 10)) RETURNS SETOF shop.get_decimals_row LANGUAGE sql STABLE AS 'SELECT $1, $2';
CREATE TYPE shop.get_money_row AS (a numeric(19, 4));
CREATE FUNCTION shop.get_money(a numeric(19, 4)) RETURNS SETOF shop.get_money_row
LANGUAGE sql STABLE AS 'SELECT $1';
CREATE TYPE shop.get_floats_row AS (a float, b real);
CREATE FUNCTION shop.get_floats(a float, b real) RETURNS SETOF shop.get_floats_row
LANGUAGE sql STABLE AS 'SELECT $1, $2';
CREATE TYPE shop.get_flag_row AS (a boolean);
CREATE FUNCTION shop.get_flag(a boolean) RETURNS SETOF shop.get_flag_row LANGUAGE sql STABLE AS 'SELECT $1';
CREATE TYPE shop.get_texts_row AS (a varchar, b text);
CREATE FUNCTION shop.get_texts(a varchar(20), b text DEFAULT NULL) RETURNS SETOF shop.get_texts_row
LANGUAGE sql STABLE AS 'SELECT $1, $2';
CREATE TYPE shop.get_day_row AS (a date);
CREATE FUNCTION shop.get_day(a date) RETURNS SETOF shop.get_day_row LANGUAGE sql STABLE AS 'SELECT $1';
CREATE TYPE shop.get_datetime_row AS (a timestamp(3));
CREATE FUNCTION shop.get_datetime(a timestamp(3)) RETURNS SETOF shop.get_datetime_row
LANGUAGE sql STABLE AS 'SELECT $1';
CREATE TYPE shop.get_moment_row AS (a timestamptz);
CREATE FUNCTION shop.get_moment(a timestamptz) RETURNS SETOF shop.get_moment_row
LANGUAGE sql STABLE AS 'SELECT $1';
CREATE TYPE shop.get_clock_row AS (a time(3));
CREATE FUNCTION shop.get_clock(a time(3)) RETURNS SETOF shop.get_clock_row LANGUAGE sql STABLE AS 'SELECT $1';
CREATE TYPE shop.get_guid_row AS (a uuid);
CREATE FUNCTION shop.get_guid(a uuid) RETURNS SETOF shop.get_guid_row LANGUAGE sql STABLE AS 'SELECT $1';
CREATE TYPE shop.get_bytes_row AS (a bytea);
CREATE FUNCTION shop.get_bytes(a bytea) RETURNS SETOF shop.get_bytes_row LANGUAGE sql STABLE AS 'SELECT $1';
CREATE TYPE shop.get_defaults_row AS (a int, b varchar, c numeric(10, 2), d date, e boolean, f int);
CREATE FUNCTION shop.get_defaults(
    a int DEFAULT 7, b varchar(20) DEFAULT 'it''s', c numeric(10, 2) DEFAULT -1.5,
    d date DEFAULT '2026-01-31', e boolean DEFAULT true, f int DEFAULT NULL) RETURNS SETOF shop.get_defaults_row
LANGUAGE sql STABLE AS 'SELECT $1, $2, $3, $4, $5, $6';
CREATE TYPE shop.echo_values_row AS (a int, b varchar);
CREATE FUNCTION shop.echo_values(a int, b varchar(20)) RETURNS SETOF shop.echo_values_row
LANGUAGE sql AS 'SELECT $1, $2';
CREATE TYPE shop.echo_long_row AS (length int, a text);
CREATE FUNCTION shop.echo_long(a text) RETURNS SETOF shop.echo_long_row
LANGUAGE sql AS 'SELECT length($1), $1';
CREATE TYPE shop."get_größe_row" AS ("größe" int, "中文" text);
CREATE FUNCTION shop."get_größe"("größe" int) RETURNS SETOF shop."get_größe_row"
LANGUAGE sql STABLE AS 'SELECT $1, ''Žluťoučký 🐎''';
CREATE TYPE shop.get_group_row AS ("select" int, "order" varchar, "from" int);
CREATE FUNCTION shop.get_group("select" int, "order" varchar(10) DEFAULT 'x', "from" int DEFAULT 1) RETURNS SETOF shop.get_group_row LANGUAGE sql STABLE AS 'SELECT $1, $2, $3';
CREATE FUNCTION shop.sum_numbers(numbers int[]) RETURNS TABLE (total bigint, items bigint)
LANGUAGE sql AS 'SELECT sum(n), count(n) FROM unnest($1) AS n';

-- Every shape of result.
CREATE FUNCTION shop.list_nothing() RETURNS TABLE (n int) LANGUAGE sql STABLE AS 'SELECT 1 WHERE false';
CREATE FUNCTION shop.list_nulls() RETURNS TABLE (n int, t varchar, d date, b bytea, m numeric(10, 2))
LANGUAGE sql STABLE AS 'SELECT NULL::int, NULL::varchar, NULL::date, NULL::bytea, NULL::numeric';
CREATE FUNCTION shop.list_numbers(upto int)
RETURNS TABLE (n int, half numeric(12, 1), name varchar, made date) LANGUAGE sql STABLE
AS 'SELECT n, n / 2.0, ''number '' || n, date ''2026-01-01'' + n % 365 FROM generate_series(1, $1) AS n';
CREATE FUNCTION shop.list_pair() RETURNS shop.pair LANGUAGE sql STABLE AS 'SELECT 1, ''two''::varchar(20)';
CREATE FUNCTION shop.list_answer() RETURNS int LANGUAGE sql STABLE AS 'SELECT 42';
CREATE FUNCTION shop.list_sets() RETURNS TABLE (a int) LANGUAGE sql STABLE AS 'SELECT 1 UNION ALL SELECT 2';
COMMENT ON FUNCTION shop.list_sets IS '@results many';
CREATE FUNCTION shop.list_temporary(n int) RETURNS TABLE (square int) LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMPORARY TABLE squares ON COMMIT DROP AS SELECT i * i AS s FROM generate_series(1, n) i;
    RETURN QUERY SELECT s FROM squares ORDER BY s;
END $$;
CREATE TYPE shop.search_orders_row AS (customer varchar, amount numeric(10, 2));
CREATE FUNCTION shop.search_orders(sort varchar(10), customer varchar(40)) RETURNS SETOF shop.search_orders_row LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT o.customer, o.amount FROM shop.orders o WHERE o.customer = $1 ORDER BY %I', sort)
    USING $2;
END $$;
COMMENT ON FUNCTION shop.search_orders IS '@route GET /sorted-orders';
CREATE FUNCTION shop.get_document(id int) RETURNS TABLE ("Json" text, "ETag" varchar(20))
LANGUAGE sql STABLE AS 'SELECT ''{"id": '' || $1 || '', "deep": {"list": [1, 2.50, null]}}'', ''v'' || $1';
CREATE FUNCTION shop.list_broken_document() RETURNS TABLE ("Json" text)
LANGUAGE sql STABLE AS 'SELECT ''{"id": ''';
CREATE FUNCTION shop.list_wrong_document() RETURNS TABLE ("Json" int)
LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION shop.echo_document(p_json text) RETURNS TABLE ("Json" text)
LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION shop.add_document(p_json text) RETURNS TABLE ("Json" text)
LANGUAGE sql AS 'INSERT INTO shop.marks VALUES ($1::jsonb ->> ''label'') RETURNING ''{"label":"'' || label || ''"}''';
CREATE PROCEDURE shop.compute_total(a int, b int, INOUT total int DEFAULT NULL)
LANGUAGE plpgsql AS 'BEGIN total := a + b; END';
CREATE PROCEDURE shop.submit_order(
    order_id int, INOUT statuscode int DEFAULT NULL, INOUT etag varchar(20) DEFAULT NULL)
LANGUAGE plpgsql AS $$ BEGIN statuscode := 202; etag := 'e' || order_id; END $$;
CREATE PROCEDURE shop.insert_label(label varchar(60), INOUT label_id int DEFAULT NULL)
LANGUAGE plpgsql AS $$ BEGIN INSERT INTO shop.marks VALUES (label); label_id := 7; END $$;
COMMENT ON PROCEDURE shop.insert_label IS '@route POST /label';
CREATE TYPE shop.get_label_row AS (label_id int);
CREATE FUNCTION shop.get_label(label_id int) RETURNS SETOF shop.get_label_row
LANGUAGE sql STABLE AS 'SELECT $1';
CREATE PROCEDURE shop.choose_status(statuscode_wanted int, INOUT statuscode int DEFAULT NULL)
LANGUAGE plpgsql AS 'BEGIN statuscode := statuscode_wanted; END';

-- Every failure. Each that writes adds a mark first, which must be gone after it.
CREATE PROCEDURE shop.fail_plainly(label varchar(60)) LANGUAGE plpgsql AS $$
BEGIN INSERT INTO shop.marks VALUES (label); RAISE EXCEPTION 'secret words'; END $$;
CREATE PROCEDURE shop.fail_oldly(label varchar(60)) LANGUAGE plpgsql AS $$
BEGIN INSERT INTO shop.marks VALUES (label); RAISE EXCEPTION 'secret words'; END $$;
CREATE PROCEDURE shop.fail_chosen(label varchar(60), status int) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.marks VALUES (label);
    RAISE EXCEPTION USING ERRCODE = 'PT' || status, MESSAGE = 'The order is closed.';
END $$;
CREATE PROCEDURE shop.fail_division(label varchar(60)) LANGUAGE plpgsql AS $$
BEGIN INSERT INTO shop.marks VALUES (label); PERFORM 1 / (length(label) - length(label)); END $$;
CREATE PROCEDURE shop.fail_twice(label varchar(60)) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.marks VALUES (label);
    INSERT INTO shop.labels VALUES (label);
    INSERT INTO shop.labels VALUES (label);
END $$;
CREATE PROCEDURE shop.fail_check(label varchar(60)) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.marks VALUES (label);
    INSERT INTO shop.orders (customer, amount) VALUES (label, -1);
END $$;
CREATE PROCEDURE shop.fail_table(label varchar(60)) LANGUAGE plpgsql AS $$
BEGIN INSERT INTO shop.marks VALUES (label); EXECUTE 'SELECT * FROM shop.no_such_table'; END $$;
CREATE PROCEDURE shop.fail_procedure(label varchar(60)) LANGUAGE plpgsql AS $$
BEGIN INSERT INTO shop.marks VALUES (label); CALL shop.no_such_procedure(); END $$;
CREATE FUNCTION shop.list_failing(upto int) RETURNS TABLE (n int) LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT generate_series(1, upto);
    RAISE EXCEPTION 'secret words';
END $$;
CREATE PROCEDURE shop.commit_inside(label varchar(60)) LANGUAGE plpgsql AS $$
BEGIN INSERT INTO shop.marks VALUES (label); COMMIT; END $$;
CREATE PROCEDURE shop.rollback_inside(label varchar(60)) LANGUAGE plpgsql AS $$
BEGIN INSERT INTO shop.marks VALUES (label); ROLLBACK; END $$;
CREATE PROCEDURE shop.archive_marks(label varchar(60), times int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. times LOOP
        INSERT INTO shop.marks VALUES (label);
        COMMIT;
    END LOOP;
END $$;
COMMENT ON PROCEDURE shop.archive_marks IS '@nontransactional';
CREATE PROCEDURE shop.archive_partly(label varchar(60)) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.marks VALUES (label);
    COMMIT;
    INSERT INTO shop.marks VALUES (label);
    RAISE EXCEPTION 'secret words';
END $$;
COMMENT ON PROCEDURE shop.archive_partly IS '@nontransactional';

-- What the tests look at and count.
CREATE PROCEDURE shop.add_mark(label varchar(60)) LANGUAGE sql AS 'INSERT INTO shop.marks VALUES ($1)';
CREATE TYPE shop.list_marks_row AS (label varchar);
CREATE FUNCTION shop.list_marks(label varchar(60)) RETURNS SETOF shop.list_marks_row
LANGUAGE sql STABLE AS 'SELECT m.label FROM shop.marks m WHERE m.label = $1';
CREATE FUNCTION shop.search_watched(label varchar(60), upto int) RETURNS TABLE (n int)
LANGUAGE sql AS 'INSERT INTO shop.marks VALUES ($1); SELECT generate_series(1, $2)';
-- Overloads, which PostgreSQL alone has.
CREATE FUNCTION shop.list_over(a int) RETURNS TABLE (n int) LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION shop.list_over(a text, b int) RETURNS TABLE (n int) LANGUAGE sql STABLE AS 'SELECT 1';

GRANT USAGE ON SCHEMA shop TO webapp;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA shop TO webapp;
