-- Procedures that know nothing of this API, in T-SQL; postgresql.sql has the twin of each.
-- Safe to run again.
IF SCHEMA_ID(N'shop') IS NULL
    EXEC (N'CREATE SCHEMA shop');
GO
IF OBJECT_ID(N'shop.orders') IS NULL
    CREATE TABLE shop.orders (
        order_id int IDENTITY PRIMARY KEY,
        customer nvarchar(40)   NOT NULL,
        amount   decimal(10, 2) NOT NULL CHECK (amount >= 0),
        note     nvarchar(max)  NULL,
        approved bit            NOT NULL DEFAULT 0
    );
GO
IF OBJECT_ID(N'shop.labels') IS NULL
    CREATE TABLE shop.labels (label nvarchar(60) NOT NULL UNIQUE);
GO
IF OBJECT_ID(N'shop.marks') IS NULL
    CREATE TABLE shop.marks (label nvarchar(60) NOT NULL);
GO
IF TYPE_ID(N'shop.number_list') IS NULL
    CREATE TYPE shop.number_list AS TABLE (n int NULL);
GO
CREATE OR ALTER PROCEDURE shop.get_order @order_id int
AS
BEGIN
    SET NOCOUNT ON;
    SELECT order_id, customer, amount, note, approved FROM shop.orders WHERE order_id = @order_id;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_orders @customer nvarchar(40) = NULL, @after int = 0
AS
BEGIN
    SET NOCOUNT ON;
    SELECT order_id, customer, amount FROM shop.orders
    WHERE (customer = @customer OR @customer IS NULL) AND order_id > @after ORDER BY order_id;
END;
GO
CREATE OR ALTER PROCEDURE shop.create_order @customer nvarchar(40), @amount decimal(10, 2), @note nvarchar(max) = NULL
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.orders (customer, amount, note) VALUES (@customer, @amount, @note);
    SELECT order_id, customer, amount, note FROM shop.orders WHERE order_id = SCOPE_IDENTITY();
END;
GO
CREATE OR ALTER PROCEDURE shop.replace_order @order_id int, @customer nvarchar(40), @amount decimal(10, 2)
AS
BEGIN
    SET NOCOUNT ON;
    UPDATE shop.orders SET customer = @customer, amount = @amount, note = NULL WHERE order_id = @order_id;
    SELECT order_id, customer, amount FROM shop.orders WHERE order_id = @order_id;
END;
GO
CREATE OR ALTER PROCEDURE shop.update_order @order_id int, @amount decimal(10, 2)
AS
BEGIN
    SET NOCOUNT ON;
    UPDATE shop.orders SET amount = @amount WHERE order_id = @order_id;
    SELECT order_id, amount FROM shop.orders WHERE order_id = @order_id;
END;
GO
CREATE OR ALTER PROCEDURE shop.delete_order @order_id int
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @found int = (SELECT order_id FROM shop.orders WHERE order_id = @order_id);
    DELETE FROM shop.orders WHERE order_id = @order_id;
    SELECT @found AS order_id WHERE @found IS NOT NULL;
END;
GO
CREATE OR ALTER PROCEDURE shop.approve_order @order_id int
AS
BEGIN
    SET NOCOUNT ON;
    UPDATE shop.orders SET approved = 1 WHERE order_id = @order_id;
END;
GO
CREATE OR ALTER PROCEDURE shop.recalculate
AS
BEGIN
    SET NOCOUNT ON;
END;
GO
CREATE OR ALTER PROCEDURE shop.lines_of @order_id int
AS
BEGIN
    SET NOCOUNT ON;
    SELECT n AS line FROM (VALUES (1), (2), (3), (4), (5)) AS v (n) WHERE n <= @order_id ORDER BY n;
END;
GO
IF EXISTS (SELECT 1 FROM sys.extended_properties
           WHERE major_id = OBJECT_ID(N'shop.lines_of') AND name = N'MS_Description')
    EXEC sys.sp_dropextendedproperty N'MS_Description', N'SCHEMA', N'shop', N'PROCEDURE', N'lines_of';
EXEC sys.sp_addextendedproperty N'MS_Description', N'The lines of an order.
@route GET /orders/{order_id}/lines
@param order_id The order''s number.',
    N'SCHEMA', N'shop', N'PROCEDURE', N'lines_of';
GO
CREATE OR ALTER PROCEDURE shop.get_hidden
AS
BEGIN
    SET NOCOUNT ON;
    SELECT 1 AS n;
END;
GO
IF EXISTS (SELECT 1 FROM sys.extended_properties
           WHERE major_id = OBJECT_ID(N'shop.get_hidden') AND name = N'MS_Description')
    EXEC sys.sp_dropextendedproperty N'MS_Description', N'SCHEMA', N'shop', N'PROCEDURE', N'get_hidden';
EXEC sys.sp_addextendedproperty N'MS_Description', N'@private',
    N'SCHEMA', N'shop', N'PROCEDURE', N'get_hidden';
GO
CREATE OR ALTER PROCEDURE shop.calculate_price @amount decimal(10, 2), @tax decimal(5, 2) = 19
AS
BEGIN
    SET NOCOUNT ON;
    SELECT CAST(ROUND(@amount * (1 + @tax / 100), 2) AS decimal(12, 2)) AS price;
END;
GO
IF EXISTS (SELECT 1 FROM sys.extended_properties
           WHERE major_id = OBJECT_ID(N'shop.calculate_price') AND name = N'MS_Description')
    EXEC sys.sp_dropextendedproperty N'MS_Description', N'SCHEMA', N'shop', N'PROCEDURE', N'calculate_price';
EXEC sys.sp_addextendedproperty N'MS_Description', N'@readonly',
    N'SCHEMA', N'shop', N'PROCEDURE', N'calculate_price';
GO
CREATE OR ALTER PROCEDURE shop.get_integers @a smallint, @b int, @c bigint
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a, @b AS b, @c AS c;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_decimals @a decimal(18, 4), @b decimal(38, 10)
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a, @b AS b;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_money @a money
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_floats @a float, @b real
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a, @b AS b;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_flag @a bit
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_texts @a nvarchar(20), @b nvarchar(max) = NULL
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a, @b AS b;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_day @a date
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_datetime @a datetime
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_moment @a datetimeoffset(6)
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_clock @a time(3)
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_guid @a uniqueidentifier
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_bytes @a varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a;
END;
GO
CREATE OR ALTER PROCEDURE shop.get_defaults @a int = 7, @b nvarchar(20) = N'it''s', @c decimal(10, 2) = -1.5,
    @d date = '2026-01-31', @e bit = 1, @f int = NULL
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a, @b AS b, @c AS c, @d AS d, @e AS e, @f AS f;
END;
GO
CREATE OR ALTER PROCEDURE shop.echo_values @a int, @b nvarchar(20)
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @a AS a, @b AS b;
END;
GO
CREATE OR ALTER PROCEDURE shop.echo_long @a nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    SELECT CAST(LEN(@a) AS int) AS length, @a AS a;
END;
GO
CREATE OR ALTER PROCEDURE shop.[get_größe] @größe int
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @größe AS [größe], N'Žluťoučký 🐎' AS [中文];
END;
GO
CREATE OR ALTER PROCEDURE shop.get_group @select int, @order nvarchar(10) = N'x', @from int = 1
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @select AS [select], @order AS [order], @from AS [from];
END;
GO
CREATE OR ALTER PROCEDURE shop.sum_numbers @numbers shop.number_list READONLY
AS
BEGIN
    SET NOCOUNT ON;
    SELECT CAST(SUM(CAST(n AS bigint)) AS bigint) AS total, CAST(COUNT(n) AS bigint) AS items FROM @numbers;
END;
GO
CREATE OR ALTER PROCEDURE shop.list_nothing
AS
BEGIN
    SET NOCOUNT ON;
    SELECT 1 AS n WHERE 1 = 0;
END;
GO
CREATE OR ALTER PROCEDURE shop.list_nulls
AS
BEGIN
    SET NOCOUNT ON;
    SELECT CAST(NULL AS int) AS n, CAST(NULL AS nvarchar(20)) AS t, CAST(NULL AS date) AS d,
        CAST(NULL AS varbinary(10)) AS b, CAST(NULL AS decimal(10, 2)) AS m;
END;
GO
CREATE OR ALTER PROCEDURE shop.list_numbers @upto int
AS
BEGIN
    SET NOCOUNT ON;
    WITH ten AS (SELECT n FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) AS v (n)),
    all_of_them AS (SELECT 1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n + 100000 * f.n AS n
        FROM ten AS a CROSS JOIN ten AS b CROSS JOIN ten AS c
        CROSS JOIN ten AS d CROSS JOIN ten AS e CROSS JOIN ten AS f)
    SELECT n, CAST(n / 2.0 AS decimal(12, 1)) AS half, CAST(CONCAT(N'number ', n) AS nvarchar(20)) AS name,
        DATEADD(day, n % 365, CAST('2026-01-01' AS date)) AS made
    FROM all_of_them WHERE n <= @upto ORDER BY n;
END;
GO
CREATE OR ALTER PROCEDURE shop.list_pair
AS
BEGIN
    SET NOCOUNT ON;
    SELECT 1 AS first, CAST(N'two' AS nvarchar(20)) AS second;
END;
GO
CREATE OR ALTER PROCEDURE shop.list_answer
AS
BEGIN
    SET NOCOUNT ON;
    SELECT 42 AS list_answer;
END;
GO
CREATE OR ALTER PROCEDURE shop.list_sets
AS
BEGIN
    SET NOCOUNT ON;
    SELECT a FROM (VALUES (1), (2)) AS v (a) ORDER BY a;
    SELECT N'x' AS b, 2 AS c;
    SELECT 1 AS d WHERE 1 = 0;
END;
GO
IF EXISTS (SELECT 1 FROM sys.extended_properties
           WHERE major_id = OBJECT_ID(N'shop.list_sets') AND name = N'MS_Description')
    EXEC sys.sp_dropextendedproperty N'MS_Description', N'SCHEMA', N'shop', N'PROCEDURE', N'list_sets';
EXEC sys.sp_addextendedproperty N'MS_Description', N'@results many',
    N'SCHEMA', N'shop', N'PROCEDURE', N'list_sets';
GO
CREATE OR ALTER PROCEDURE shop.list_temporary @n int
AS
BEGIN
    SET NOCOUNT ON;
    SELECT n * n AS s INTO #squares
    FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9)) AS v (n) WHERE n <= @n;
    SELECT s AS square FROM #squares ORDER BY s;
END;
GO
CREATE OR ALTER PROCEDURE shop.search_orders @sort nvarchar(10), @customer nvarchar(40)
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @text nvarchar(max) = N'SELECT customer, amount FROM shop.orders WHERE customer = @customer ORDER BY '
        + QUOTENAME(@sort);
    EXEC sp_executesql @text, N'@customer nvarchar(40)', @customer;
END;
GO
IF EXISTS (SELECT 1 FROM sys.extended_properties
           WHERE major_id = OBJECT_ID(N'shop.search_orders') AND name = N'MS_Description')
    EXEC sys.sp_dropextendedproperty N'MS_Description', N'SCHEMA', N'shop', N'PROCEDURE', N'search_orders';
EXEC sys.sp_addextendedproperty N'MS_Description', N'@route GET /sorted-orders',
    N'SCHEMA', N'shop', N'PROCEDURE', N'search_orders';
GO
CREATE OR ALTER PROCEDURE shop.get_document @id int
AS
BEGIN
    SET NOCOUNT ON;
    SELECT CONCAT(N'{"id": ', @id, N', "deep": {"list": [1, 2.50, null]}}') AS [Json],
        CONCAT(N'v', @id) AS [ETag];
END;
GO
CREATE OR ALTER PROCEDURE shop.list_broken_document
AS
BEGIN
    SET NOCOUNT ON;
    SELECT N'{"id": ' AS [Json];
END;
GO
CREATE OR ALTER PROCEDURE shop.list_wrong_document
AS
BEGIN
    SET NOCOUNT ON;
    SELECT 1 AS [Json];
END;
GO
CREATE OR ALTER PROCEDURE shop.echo_document @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @Json AS [Json];
END;
GO
CREATE OR ALTER PROCEDURE shop.add_document @Json nvarchar(max)
AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @label nvarchar(60) = JSON_VALUE(@Json, '$.label');
    INSERT INTO shop.marks (label) VALUES (@label);
    SELECT CONCAT(N'{"label":"', @label, N'"}') AS [Json];
END;
GO
CREATE OR ALTER PROCEDURE shop.compute_total @a int, @b int, @total int OUTPUT
AS
BEGIN
    SET NOCOUNT ON;
    SET @total = @a + @b;
END;
GO
CREATE OR ALTER PROCEDURE shop.submit_order @order_id int, @statuscode int OUTPUT, @etag nvarchar(20) OUTPUT
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @statuscode = 202, @etag = CONCAT(N'e', @order_id);
END;
GO
CREATE OR ALTER PROCEDURE shop.insert_label @label nvarchar(60), @label_id int OUTPUT
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    SET @label_id = 7;
END;
GO
IF EXISTS (SELECT 1 FROM sys.extended_properties
           WHERE major_id = OBJECT_ID(N'shop.insert_label') AND name = N'MS_Description')
    EXEC sys.sp_dropextendedproperty N'MS_Description', N'SCHEMA', N'shop', N'PROCEDURE', N'insert_label';
EXEC sys.sp_addextendedproperty N'MS_Description', N'@route POST /label',
    N'SCHEMA', N'shop', N'PROCEDURE', N'insert_label';
GO
CREATE OR ALTER PROCEDURE shop.get_label @label_id int
AS
BEGIN
    SET NOCOUNT ON;
    SELECT @label_id AS label_id;
END;
GO
CREATE OR ALTER PROCEDURE shop.choose_status @statuscode_wanted int, @statuscode int OUTPUT
AS
BEGIN
    SET NOCOUNT ON;
    SET @statuscode = @statuscode_wanted;
END;
GO
CREATE OR ALTER PROCEDURE shop.fail_plainly @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    THROW 51000, N'secret words', 1;
END;
GO
CREATE OR ALTER PROCEDURE shop.fail_oldly @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    RAISERROR (N'secret words', 16, 1);
    RETURN;
END;
GO
CREATE OR ALTER PROCEDURE shop.fail_chosen @label nvarchar(60), @status int
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    DECLARE @number int = 50000 + @status;
    THROW @number, N'The order is closed.', 1;
END;
GO
CREATE OR ALTER PROCEDURE shop.fail_division @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    DECLARE @n int = 1 / (LEN(@label) - LEN(@label));
END;
GO
CREATE OR ALTER PROCEDURE shop.fail_twice @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    INSERT INTO shop.labels (label) VALUES (@label);
    INSERT INTO shop.labels (label) VALUES (@label);
END;
GO
CREATE OR ALTER PROCEDURE shop.fail_check @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    INSERT INTO shop.orders (customer, amount) VALUES (@label, -1);
END;
GO
CREATE OR ALTER PROCEDURE shop.fail_table @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    EXEC (N'SELECT * FROM shop.no_such_table');
END;
GO
CREATE OR ALTER PROCEDURE shop.fail_procedure @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    EXEC shop.no_such_procedure;
END;
GO
CREATE OR ALTER PROCEDURE shop.list_failing @upto int
AS
BEGIN
    SET NOCOUNT ON;
    EXEC shop.list_numbers @upto;
    THROW 51000, N'secret words', 1;
END;
GO
CREATE OR ALTER PROCEDURE shop.commit_inside @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    COMMIT;
END;
GO
CREATE OR ALTER PROCEDURE shop.rollback_inside @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    ROLLBACK;
END;
GO
CREATE OR ALTER PROCEDURE shop.archive_marks @label nvarchar(60), @times int
AS
BEGIN
    SET NOCOUNT ON;
    WHILE @times > 0
    BEGIN
        BEGIN TRAN;
        INSERT INTO shop.marks (label) VALUES (@label);
        COMMIT;
        SET @times = @times - 1;
    END;
END;
GO
IF EXISTS (SELECT 1 FROM sys.extended_properties
           WHERE major_id = OBJECT_ID(N'shop.archive_marks') AND name = N'MS_Description')
    EXEC sys.sp_dropextendedproperty N'MS_Description', N'SCHEMA', N'shop', N'PROCEDURE', N'archive_marks';
EXEC sys.sp_addextendedproperty N'MS_Description', N'@nontransactional',
    N'SCHEMA', N'shop', N'PROCEDURE', N'archive_marks';
GO
CREATE OR ALTER PROCEDURE shop.archive_partly @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    BEGIN TRAN;
    INSERT INTO shop.marks (label) VALUES (@label);
    COMMIT;
    BEGIN TRAN;
    INSERT INTO shop.marks (label) VALUES (@label);
    ROLLBACK;
    THROW 51000, N'secret words', 1;
END;
GO
IF EXISTS (SELECT 1 FROM sys.extended_properties
           WHERE major_id = OBJECT_ID(N'shop.archive_partly') AND name = N'MS_Description')
    EXEC sys.sp_dropextendedproperty N'MS_Description', N'SCHEMA', N'shop', N'PROCEDURE', N'archive_partly';
EXEC sys.sp_addextendedproperty N'MS_Description', N'@nontransactional',
    N'SCHEMA', N'shop', N'PROCEDURE', N'archive_partly';
GO
CREATE OR ALTER PROCEDURE shop.add_mark @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
END;
GO
CREATE OR ALTER PROCEDURE shop.list_marks @label nvarchar(60)
AS
BEGIN
    SET NOCOUNT ON;
    SELECT label FROM shop.marks WHERE label = @label;
END;
GO
CREATE OR ALTER PROCEDURE shop.search_watched @label nvarchar(60), @upto int
AS
BEGIN
    SET NOCOUNT ON;
    INSERT INTO shop.marks (label) VALUES (@label);
    EXEC shop.list_numbers @upto;
END;
GO
-- What PostgreSQL lacks: rows together with outputs, and columns of one name or none.
CREATE OR ALTER PROCEDURE shop.get_summary @upto int, @rows_found int OUTPUT
AS
BEGIN
    SET NOCOUNT ON;
    SELECT n FROM (VALUES (1), (2), (3)) AS v (n) WHERE n <= @upto ORDER BY n;
    SET @rows_found = @upto;
END;
GO
CREATE OR ALTER PROCEDURE shop.list_twins
AS
BEGIN
    SET NOCOUNT ON;
    SELECT 1 AS n, 2 AS n;
END;
GO
CREATE OR ALTER PROCEDURE shop.list_nameless
AS
BEGIN
    SET NOCOUNT ON;
    SELECT 1;
END;
GO
