"""Parameters are read out of T-SQL sources as SQL Server declares them."""

import pytest

from catalog.header import HeaderError, HeaderParameter, read_header


def p(name, type_name, arguments="", default=None, *, schema=None, out=False, readonly=False):
    return HeaderParameter(name, type_name, schema, arguments, default, out, readonly)


BODY = "AS SELECT 1 AS x"
HEADERS = {
    "no parameter": ("CREATE PROCEDURE api.p AS SELECT 1", ()),
    "empty parentheses": ("CREATE PROCEDURE api.p () AS SELECT 1", ()),
    "one": ("CREATE PROCEDURE api.get_order @OrderID int AS SELECT 1", (p("OrderID", "int"),)),
    "parentheses around all": (
        "CREATE PROC api.p (@a int, @b bit) AS SELECT 1",
        (p("a", "int"), p("b", "bit")),
    ),
    "create or alter": (
        f"CREATE OR ALTER PROCEDURE p @a int {BODY}",
        (p("a", "int"),),
    ),
    "alter": (f"ALTER PROCEDURE dbo.p @a int {BODY}", (p("a", "int"),)),
    "lower case": (
        f"create procedure p @a INT = null {BODY.lower()}",
        (p("a", "INT", "", "null"),),
    ),
    "three parts of a name": (f"CREATE PROCEDURE db.api.p @a int {BODY}", (p("a", "int"),)),
    "bracketed name": (
        f"CREATE PROCEDURE [api].[get ]] @x int AS order] @a int {BODY}",
        (p("a", "int"),),
    ),
    "quoted name": (f'CREATE PROCEDURE "api"."a""b" @a int {BODY}', (p("a", "int"),)),
    "name of a reserved word": (f"CREATE PROCEDURE api.[as] @a int {BODY}", (p("a", "int"),)),
    "blanks around the dot": (f"CREATE PROCEDURE api . p @a int {BODY}", (p("a", "int"),)),
    "numbered": (f"CREATE PROCEDURE p;1 @a int {BODY}", (p("a", "int"),)),
    "length": (f"CREATE PROCEDURE p @a nvarchar(50) {BODY}", (p("a", "nvarchar", "50"),)),
    "max": (f"CREATE PROCEDURE p @a nvarchar ( MAX ) {BODY}", (p("a", "nvarchar", "MAX"),)),
    "precision": (f"CREATE PROCEDURE p @a decimal(10, 2) {BODY}", (p("a", "decimal", "10,2"),)),
    "bracketed type": (f"CREATE PROCEDURE p @a [decimal](9,0) {BODY}", (p("a", "decimal", "9,0"),)),
    "type in sys": (f"CREATE PROCEDURE p @a [sys].[sysname] {BODY}", (p("a", "sysname"),)),
    "type of several words": (
        f"CREATE PROCEDURE p @a national character varying(20), @b double precision {BODY}",
        (p("a", "national character varying", "20"), p("b", "double precision")),
    ),
    "schema-qualified type": (
        f"CREATE PROCEDURE p @a dbo.PhoneNumber {BODY}",
        (p("a", "PhoneNumber", schema="dbo"),),
    ),
    "bracketed user type": (
        f"CREATE PROCEDURE p @a [my schema].[my type] {BODY}",
        (p("a", "my type", schema="my schema"),),
    ),
    "typed xml": (
        f"CREATE PROCEDURE p @a xml(DOCUMENT dbo.c) {BODY}",
        (p("a", "xml", "DOCUMENTdbo.c"),),
    ),
    "AS between name and type": (f"CREATE PROCEDURE p @a AS int {BODY}", (p("a", "int"),)),
    "default NULL": (f"CREATE PROCEDURE p @a int = NULL {BODY}", (p("a", "int", "", "NULL"),)),
    "default string": (
        f"CREATE PROCEDURE p @a varchar(9) = 'it''s, @b int = 3' {BODY}",
        (p("a", "varchar", "9", "'it''s, @b int = 3'"),),
    ),
    "default N string": (
        f"CREATE PROCEDURE p @a nvarchar(9)=N'größe' {BODY}",
        (p("a", "nvarchar", "9", "N'größe'"),),
    ),
    "default empty string": (
        f"CREATE PROCEDURE p @a varchar(9)='' {BODY}",
        (p("a", "varchar", "9", "''"),),
    ),
    "default negative": (
        f"CREATE PROCEDURE p @a int = -5, @b float = - 1.5e-3 {BODY}",
        (p("a", "int", "", "-5"), p("b", "float", "", "-1.5e-3")),
    ),
    "default positive": (f"CREATE PROCEDURE p @a int = +5 {BODY}", (p("a", "int", "", "+5"),)),
    "default of a point": (f"CREATE PROCEDURE p @a float=.5 {BODY}", (p("a", "float", "", ".5"),)),
    "default binary": (
        f"CREATE PROCEDURE p @a varbinary(4) = 0xDEADbeef, @b binary(1) = 0x {BODY}",
        (p("a", "varbinary", "4", "0xDEADbeef"), p("b", "binary", "1", "0x")),
    ),
    "default money": (
        f"CREATE PROCEDURE p @a money = $12.50, @b money = €3, @c money = -$1 {BODY}",
        (p("a", "money", "", "$12.50"), p("b", "money", "", "€3"), p("c", "money", "", "-$1")),
    ),
    "default bare word": (
        f"CREATE PROCEDURE p @a sysname = master, @b bit = [true] {BODY}",
        (p("a", "sysname", "", "master"), p("b", "bit", "", "[true]")),
    ),
    "output": (
        f"CREATE PROCEDURE p @a int OUTPUT, @b int OUT, @c int = 3 output {BODY}",
        (p("a", "int", out=True), p("b", "int", out=True), p("c", "int", "", "3", out=True)),
    ),
    "readonly table": (
        f"CREATE PROCEDURE p @lines api.OrderLines READONLY {BODY}",
        (p("lines", "OrderLines", schema="api", readonly=True),),
    ),
    "readonly table without a schema": (
        f"CREATE PROCEDURE p @lines OrderLines readonly, @n int {BODY}",
        (p("lines", "OrderLines", readonly=True), p("n", "int")),
    ),
    "cursor": (
        f"CREATE PROCEDURE p @c CURSOR VARYING OUTPUT {BODY}",
        (p("c", "CURSOR VARYING", out=True),),
    ),
    "nullability": (
        "CREATE PROCEDURE p @a int NOT NULL = 3, @b int NULL WITH NATIVE_COMPILATION,"
        " SCHEMABINDING AS BEGIN ATOMIC WITH (LANGUAGE = N'x') SELECT 1 END",
        (p("a", "int", "", "3"), p("b", "int")),
    ),
    "with recompile": (f"CREATE PROCEDURE p @a int WITH RECOMPILE {BODY}", (p("a", "int"),)),
    "execute as": (
        f"CREATE PROCEDURE p @a int = 1 WITH EXECUTE AS 'x', ENCRYPTION {BODY}",
        (p("a", "int", "", "1"),),
    ),
    "execute as without a parameter": ("CREATE PROCEDURE p WITH EXECUTE AS OWNER AS SELECT 1", ()),
    "for replication": (f"CREATE PROCEDURE p @a int FOR REPLICATION {BODY}", (p("a", "int"),)),
    "comment with AS": (
        f"CREATE PROCEDURE p @a int -- AS SELECT @z int\n, @b int /* AS */ {BODY}",
        (p("a", "int"), p("b", "int")),
    ),
    "comment in front": (
        f"-- CREATE PROCEDURE old @x int AS\n/* PROC p2 @y int */\nCREATE PROC p @a int {BODY}",
        (p("a", "int"),),
    ),
    "comments everywhere": (
        "CREATE/**/PROCEDURE/**/p/**/@a/**/int/**/=/**/-/**/5/**/OUTPUT/**/AS SELECT 1",
        (p("a", "int", "", "-5", out=True),),
    ),
    "nested comment": (
        f"CREATE PROCEDURE p /* a /* b */ @x int AS */ @a int {BODY}",
        (p("a", "int"),),
    ),
    "comment with a quote": (
        f"CREATE PROCEDURE p -- don't\n @a int /* isn't */ = 1 {BODY}",
        (p("a", "int", "", "1"),),
    ),
    "string with a comment": (
        f"CREATE PROCEDURE p @a varchar(9) = '/* -- ', @b int {BODY}",
        (p("a", "varchar", "9", "'/* -- '"), p("b", "int")),
    ),
    "unicode names": (
        f"CREATE PROCEDURE api.größe @größe int, @注文 nvarchar(5), @имя int {BODY}",
        (p("größe", "int"), p("注文", "nvarchar", "5"), p("имя", "int")),
    ),
    "signs in names": (
        f"CREATE PROCEDURE p @a#b int, @a$c int, @_d int, @1 int, @@e int {BODY}",
        (p("a#b", "int"), p("a$c", "int"), p("_d", "int"), p("1", "int"), p("@e", "int")),
    ),
    "parameters called as keywords": (
        f"CREATE PROCEDURE p @as int, @output int OUTPUT, @with int = 1 {BODY}",
        (p("as", "int"), p("output", "int", out=True), p("with", "int", "", "1")),
    ),
    "windows line ends and a mark": (
        "\ufeffCREATE PROCEDURE p\r\n\t@a int,\r\n\t@b int\r\nAS\r\nSELECT 1",
        (p("a", "int"), p("b", "int")),
    ),
    "body full of traps": (
        "CREATE PROCEDURE p @a int AS BEGIN TRY DECLARE @b int = (SELECT 1); EXEC q @c = 1 OUTPUT"
        " END TRY BEGIN CATCH THROW END CATCH -- it's",
        (p("a", "int"),),
    ),
    "begin without a blank": ("CREATE PROCEDURE p(@a int)AS BEGIN SELECT 1 END", (p("a", "int"),)),
}


@pytest.mark.parametrize(("source", "expected"), HEADERS.values(), ids=HEADERS)
def test_a_header_is_read(source, expected):
    assert read_header(source) == expected


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("", "CREATE PROCEDURE expected"),
        ("CREATE VIEW v AS SELECT 1", "CREATE PROCEDURE expected"),
        ("CREATE PROCEDURE p @a int = GETDATE() AS SELECT 1", "not a call of GETDATE"),
        ("CREATE PROCEDURE p @a int = @b AS SELECT 1", "a constant as the default of @a expected"),
        ("CREATE PROCEDURE p @a int = AS SELECT 1", "AS expected"),
        ("CREATE PROCEDURE p @a int, @b", "Line 1: a name expected, not the end."),
        ("CREATE PROCEDURE p\n@a int\n!", "Line 3: AS expected, not !."),
        ("CREATE PROCEDURE p @a decimal(1", ") expected"),
        ("CREATE PROCEDURE p (@a int AS SELECT 1", ") expected, not AS"),
        ("CREATE PROCEDURE p /* @a int AS", "AS expected, not the end"),
        ("CREATE PROCEDURE p @a varchar(5) = 'x AS SELECT 1", "a constant"),
    ],
)
def test_what_is_no_header_is_refused_with_its_line(source, sentence):
    with pytest.raises(HeaderError) as raised:
        read_header(source)
    assert sentence in str(raised.value)


def test_a_long_body_is_not_read():
    body = "SELECT 'x' /* " * 200_000
    assert read_header(f"CREATE PROCEDURE p @a int AS {body}") == (p("a", "int"),)
