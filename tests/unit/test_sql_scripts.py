"""The SQL scripts: T-SQL is parsed to its last statement and its names are looked up; the
PostgreSQL scripts are run. No SQL Server is needed here; the contract suite asks a real one.
"""

import os
import re
from functools import cache
from pathlib import Path

import pytest
import sqlglot
from sqlfluff.core import Linter
from sqlglot import exp
from sqlglot.errors import OptimizeError
from sqlglot.optimizer.qualify import qualify

from database.connect.drivers import Driver
from deploy import DeploymentError
from deploy.runner import deploy
from deploy.scripts import Batch, plan, scripts, split_batches
from embedded.cluster import OWNER, EmbeddedCluster

SQL = Path(__file__).parents[2] / "sql"
FOLDERS = ("azure-sql", "synapse")
CUSTOMER_PROCEDURES = (
    "get_customer put_customer put_customers replace_customer patch_customer delete_customer"
    " get_customers delete_expired_requests"
)
WEB = {f"web.{name}" for name in CUSTOMER_PROCEDURES.split()}
TAXI = {"dbo.get_taxidata", "dbo.get_taxidataAmount", "dbo.get_taxidataSummary"}
STREAMED = {"web.get_customers_rows", "dbo.get_taxidata_rows", "dbo.get_taxidataAmount_rows"}
VARIABLES = {"AppName": "it's [a] name", "StorageAccount": "trips", "Container": "c", "Path": "/p"}
VARIABLES["StorageSuffix"] = "core.windows.net"

# Statements of Synapse that the parser's T-SQL lacks, each in the form that Microsoft documents.
UNKNOWN_TO_THE_PARSER = [
    re.compile(r"^\s*DROP EXTERNAL DATA SOURCE \w+;", re.MULTILINE),
    re.compile(
        r"^GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::\w+ TO \[[^\]]+\];", re.MULTILINE
    ),
]
QUERIES = ("select_statement", "insert_statement", "update_statement", "delete_statement")
MODULE = re.compile(
    r"CREATE OR ALTER (PROCEDURE|VIEW|FUNCTION) (\w+\.\w+)(.*?)\bAS\b(.*)", re.DOTALL
)
PARAMETER = re.compile(r"(@\w+)\s+(\w+(?:\(\w+\))?)( OUTPUT)?")
EXECUTION = re.compile(r"EXEC (\w+\.\w+)\s+([^;]*);")


@cache
def batches(folder: str) -> list[Batch]:
    """Every batch of a folder, and every text that a batch hands to EXEC (N'…')."""
    found = []
    for script in scripts(SQL / folder):
        for batch in split_batches(script.read_text(encoding="utf-8")):
            found.append(batch)
            for inner in re.findall(r"EXEC \(N'((?:[^']|'')*)'\)", batch.sql):
                found.append(Batch(inner.replace("''", "'"), batch.line))
    return found


@cache
def parsed(sql: str):
    for pattern in UNKNOWN_TO_THE_PARSER:
        sql = pattern.sub("SELECT 1;", sql)
    return Linter(dialect="tsql").parse_string(sql)


def modules(folder: str) -> dict[str, tuple[str, str, str]]:
    """Procedures, views and functions by name: kind, the text of their parameters, body."""
    found = (MODULE.search(without_comments(batch.sql)) for batch in batches(folder))
    return {m[2]: (m[1], m[3], m[4]) for m in found if m}


def without_comments(sql: str) -> str:
    return re.sub(r"--[^\n]*|/\*.*?\*/", "", sql, flags=re.DOTALL)


def without_literals(sql: str) -> str:
    return re.sub(r"'(?:[^']|'')*'", "''", without_comments(sql))


everything = pytest.mark.parametrize("folder", FOLDERS)


@everything
def test_every_batch_parses_to_its_end(folder):
    for batch in batches(folder):
        tree = parsed(batch.sql)
        assert not tree.violations, f"{folder}, line {batch.line}: {tree.violations}"
        assert not list(tree.tree.iter_unparsables()), f"{folder}, line {batch.line}"


def test_the_parser_does_look_into_procedures():
    body = "CREATE PROCEDURE p AS BEGIN BEGIN TRY SELECT 1 FROM WHERE; END TRY END;"
    assert parsed(body).violations


def tables(folder: str) -> dict:
    """What the statements of a folder may name: schema, table, columns."""
    named = {}
    for batch in batches(folder):
        sql = without_comments(batch.sql)
        for name, columns in re.findall(
            r"(?:CREATE (?:EXTERNAL )?TABLE|DECLARE) (\w+\.\w+|@\w+)(?: TABLE)? \((.*?)\n\s*\)",
            sql,
            re.DOTALL,
        ):
            defined = re.findall(r"^\s+(?!CONSTRAINT\b)(\w+)\s+\w", columns, re.MULTILINE)
            named[name] = defined
    for name, (kind, _, body) in modules(folder).items():
        if kind == "VIEW":
            named[name] = sqlglot.parse_one(body, dialect="tsql").named_selects
    return named


def unresolved(query: str, known: dict) -> str | None:
    """Why a query names something that is not there; None when it all is."""
    # Statements about the system's own views and rowsets of OPENJSON bring their columns along.
    if re.search(r"\bsys\.", query):
        return None
    schema: dict = {}
    for name, columns in known.items():
        owner, _, table = name.rpartition(".")
        # A table variable has no schema, but every table here must be of one depth.
        schema.setdefault(owner or "variables", {})[table.lstrip("@")] = dict.fromkeys(columns, "x")
    query = re.sub(r"^DELETE TOP \(\d+\) FROM", "DELETE FROM", query)
    query = re.sub(r"(FROM|JOIN|INTO) @(\w+)", r"\1 variables.\2", query)
    tree = sqlglot.parse_one(query, dialect="tsql")
    assert not isinstance(tree, exp.Command), query
    for table in tree.find_all(exp.Table):
        owner = table.text("db")
        is_name = table.name and isinstance(table.this, exp.Identifier)
        if is_name and table.name not in schema.get(owner, {}):
            return f"no table {table.sql(dialect='tsql')}"
    try:
        qualify(tree, dialect="tsql", schema=schema, validate_qualify_columns=True)
    except OptimizeError as error:
        return str(error)
    return None


@everything
def test_queries_use_existing_tables_and_columns(folder):
    known = tables(folder)
    looked_at = 0
    for batch in batches(folder):
        if not MODULE.search(batch.sql):
            continue
        for query in parsed(batch.sql).tree.recursive_crawl(*QUERIES, recurse_into=False):
            assert unresolved(query.raw, known) is None, f"line {batch.line}: {query.raw}"
            looked_at += 1
    assert looked_at > 2


def test_a_misspelt_column_or_table_would_be_found():
    known = tables("azure-sql")
    good = "SELECT c.CustomerName FROM Sales.Customers AS c WHERE c.CustomerID = @CustomerID"
    assert unresolved(good, known) is None
    assert unresolved(good.replace("CustomerName", "CustomerNane"), known)
    assert unresolved(good.replace("Customers", "Costumers"), known)


@everything
def test_every_variable_is_declared_and_every_declared_one_is_used(folder):
    for name, (_, parameters, body) in modules(folder).items():
        text = without_literals(body)
        declared = set(re.findall(r"@\w+", parameters))
        for block in re.findall(r"DECLARE\s(.*?);", text, re.DOTALL):
            outer = re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", "", block)
            declared |= set(re.findall(r"(?:^|,)\s*(@\w+)", outer))
        used = set(re.findall(r"(?<!@)@\w+", text))
        assert used <= declared, f"{name}: {used - declared} not declared"
        idle = {v for v in declared if len(re.findall(rf"{v}\b", parameters + text)) < 2}
        if "RETURN;" not in body:
            assert not idle, f"{name}: {idle} not used"


@everything
def test_procedures_call_each_other_with_the_parameters_declared(folder):
    known = {
        name: PARAMETER.findall(parameters)
        for name, (kind, parameters, _) in modules(folder).items()
        if kind == "PROCEDURE"
    }
    for name, (_, _, body) in modules(folder).items():
        for callee, arguments in EXECUTION.findall(without_comments(body)):
            given = [a.strip() for a in arguments.split(",")]
            wanted = known[callee]
            assert len(given) == len(wanted), f"{name} calls {callee}"
            for argument, (_, _, output) in zip(given, wanted, strict=True):
                assert argument.endswith(" OUTPUT") == bool(output), f"{name} calls {callee}"


@pytest.mark.parametrize(("folder", "wanted"), [("azure-sql", WEB), ("synapse", TAXI)], ids=FOLDERS)
def test_every_procedure_that_a_route_needs_takes_one_json_document(folder, wanted):
    found = modules(folder)
    for name in wanted:
        kind, parameters, _ = found[name]
        assert kind == "PROCEDURE"
        assert parameters.split() == ["@Json", "nvarchar(max)"]
    # EXECUTE on the whole schema is what the API gets: nothing else may be in it, but the guard in
    # front of a replica's read.
    called = {*wanted, *(["web.require_request"] if folder == "azure-sql" else [])}
    assert {n for n in found if n.startswith("web.")} == {n for n in called if n.startswith("web.")}


def order_of(select: exp.Select | exp.Window) -> list[str]:
    """The columns that a query or a window function sorts by, in order."""
    order = select.args["order"]
    return [key.this.name for key in order.expressions]


def test_trips_are_cut_by_top_before_they_become_text_and_every_engine_sorts_them_alike():
    page = modules("synapse")["dbo.taxidata_page"][2].partition("RETURN\n")[2]
    query = sqlglot.parse_one(page, dialect="tsql")
    (cut,) = [s for s in query.find_all(exp.Select) if s.args.get("limit")]
    assert cut.args["limit"].expression.sql(dialect="tsql").strip("()") == "@Last"
    assert [table.name for table in cut.find_all(exp.Table)] == ["taxidata"]
    (numbered,) = query.find_all(exp.Window)
    keys = order_of(cut)
    assert keys[0] == "tpep_pickup_datetime"
    assert order_of(numbered) == keys
    postgresql = (SQL / "postgresql" / "060_taxi_reads.sql").read_text(encoding="utf-8")
    text = re.sub(r"'\s*\|\|\s*'", "", postgresql)
    (other,) = re.findall(r" ORDER BY (tpep.*?) LIMIT", text)
    assert [key.strip().strip('"') for key in other.split(",")] == [*keys, "id"]


@pytest.mark.parametrize("write", ["web.put_customer", "web.put_customers"])
def test_a_write_that_can_not_read_its_row_back_chooses_a_status(write):
    found = modules("azure-sql")
    assert "THROW 50403" in found["internal.read_written_customer"][2]
    for name in (write, "internal.change_customer"):
        body = found[name][2]
        written = re.search(r"EXEC internal\.(?:insert|update)_.*?EXEC (\S+)", body, re.DOTALL)
        assert written[1] == "internal.read_written_customer"
        assert "SET XACT_ABORT ON" in body


def forbidden(sql: str) -> list[str]:
    """What Babelfish 4 refuses, SQL Server 2016 lacks, or this project does not do."""
    text = without_comments(sql)
    code = without_literals(sql)
    found = [
        what
        for what, pattern in {
            "FOR JSON AUTO": r"FOR JSON AUTO",
            "a password": r"PASSWORD|\bPWD\b",
            "JSON_MODIFY": r"JSON_MODIFY",
            "EXEC of a variable": r"EXEC(UTE)?\s+@",
            "sys.parameters": r"sys\.parameters",
            "CONVERT to varbinary": r"CONVERT\s*\(\s*varbinary",
            "MERGE": r"\bMERGE\b",
            "style 126, without its T on Babelfish": r",\s*126\s*\)",
            "a sequence by a name in mixed case": r"sys\.sequences(?:(?!LOWER\().)*\bs\.name\s*=",
            "STRING_AGG, of 2017": r"STRING_AGG",
            "TRIM, of 2017": r"\bTRIM\s*\(",
            "SELECT *": r"SELECT\s+\*",
            "NULLIF with an empty string": r"NULLIF\s*\([^()]*''\s*\)",
        }.items()
        if re.search(pattern, code, re.IGNORECASE | re.DOTALL)
    ]
    for clause in re.findall(r"\)\s*WITH\s*\((.*?)\)\s*AS\b", text, re.DOTALL):
        if "$." in clause or "nvarchar" in clause:
            for column in re.split(r",(?![^(]*\))", clause):
                if not re.search(r"'\$\.[\w.]+'\s*$", column.strip()):
                    found.append(f"OPENJSON column without a path: {column.strip()}")
    return found


@everything
def test_the_scripts_use_only_features_that_every_engine_has(folder):
    for batch in batches(folder):
        assert not forbidden(batch.sql), f"{folder}, line {batch.line}"


def test_the_synapse_scripts_use_only_features_of_serverless():
    refused = r"\bOFFSET\s+@|DECLARE @\w+ TABLE|#\w+|OPTION\s*\(|WITH \((UPDLOCK|NOLOCK)"
    for batch in batches("synapse"):
        assert not re.search(refused, without_literals(batch.sql)), f"line {batch.line}"


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE USER a WITH PASSWORD = 'x'",
        "SELECT 1 AS a FOR JSON AUTO",
        "SELECT j.a FROM OPENJSON(@j) WITH (a nvarchar(max), b int '$.b') AS j",
        "EXEC @procedure",
        "SELECT CONVERT(varchar(33), t.a, 126) FROM t",
        "IF NOT EXISTS (SELECT 1 FROM sys.sequences AS s\nWHERE s.name = N'A') SELECT 1",
    ],
)
def test_the_check_for_forbidden_things_finds_them(sql):
    assert forbidden(sql)


@everything
def test_scripts_may_run_again(folder):
    for batch in batches(folder):
        text = without_comments(batch.sql)
        # Dropping would leave a moment without it, and lose the grants on it.
        assert not re.search(r"CREATE (PROCEDURE|VIEW|FUNCTION)", text), f"line {batch.line}"
        assert not re.search(r"DROP (PROCEDURE|FUNCTION)", text), f"line {batch.line}"
        if re.match(r"\s*CREATE (TABLE|SEQUENCE|INDEX|SCHEMA)", text):
            assert text.strip().startswith("CREATE SCHEMA"), (
                "made without a look whether it is there"
            )


@pytest.mark.parametrize("folder", [*FOLDERS, "postgresql"])
def test_an_app_of_any_name_can_be_granted_its_rights(folder):
    engine = "postgresql" if folder == "postgresql" else "sqlserver"
    steps = plan(SQL / folder, engine=engine, variables=VARIABLES)
    for step in steps:
        text = without_comments(step.batch.sql)
        assert not [name for name in VARIABLES if f"$({name})" in text], step
    grants = " ".join(s.batch.sql for s in steps if "grants" in s.script.name)
    quoted = '"it\'s [a] name"' if engine == "postgresql" else "[it's [a]] name]"
    assert f"TO {quoted}" in grants
    assert "'it''s [a] name'" in grants


@pytest.fixture(scope="module")
def owner(run_folder):
    """A connection as owner to an empty PostgreSQL cluster."""
    cluster = EmbeddedCluster(
        run_folder / f"scripts-{os.getpid()}", prepare=lambda made: None, fingerprint="empty"
    )
    cluster.start()
    driver = Driver(cluster.connection_string(role=OWNER), family="postgresql")
    connection = driver.connect(10)
    yield connection
    connection.close()
    cluster.stop()


def test_the_postgresql_folder_deploys_and_deploys_again(owner):
    heard: list = []
    for _ in range(2):
        deploy(owner, SQL / "postgresql", variables=VARIABLES, report=heard.append)
    assert [s.script for s in heard] == scripts(SQL / "postgresql") * 2
    found = owner.execute(
        "SELECT n.nspname || '.' || p.proname, pg_get_function_identity_arguments(p.oid)"
        " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname IN ('web', 'dbo')"
    ).fetchall()
    one_text = {name for name, arguments in found if arguments.startswith("p_json text")}
    assert one_text >= WEB | TAXI | STREAMED


NEIGHBOUR = """
CREATE ROLE neighbour;
CREATE SCHEMA IF NOT EXISTS web;
CREATE FUNCTION public.theirs() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION web.theirs() RETURNS int LANGUAGE sql AS 'SELECT 1';
"""
WHAT_A_NEIGHBOUR_MAY = """
SELECT has_database_privilege('neighbour', current_database(), 'TEMPORARY'),
       has_schema_privilege('neighbour', 'public', 'USAGE'),
       has_function_privilege('neighbour', 'public.theirs()', 'EXECUTE'),
       has_function_privilege('neighbour', 'web.theirs()', 'EXECUTE'),
       has_function_privilege('neighbour', 'public.later()', 'EXECUTE')
"""
OWN_FUNCTIONS = """
SELECT p.oid::regprocedure::text, has_function_privilege('neighbour', p.oid, 'EXECUTE')
  FROM pg_proc p
 WHERE p.pronamespace IN ('web'::regnamespace, 'dbo'::regnamespace, 'sales'::regnamespace)
   AND p.proname <> 'theirs'
"""


def test_a_deployment_leaves_the_rights_of_other_roles(owner):
    owner.execute(NEIGHBOUR)
    deploy(owner, SQL / "postgresql", variables=VARIABLES, report=lambda step: None)
    owner.execute("CREATE FUNCTION public.later() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    may = owner.execute(WHAT_A_NEIGHBOUR_MAY).fetchone()
    assert [bool(int(one)) for one in may] == [True] * 5
    own = owner.execute(OWN_FUNCTIONS).fetchall()
    assert len(own) > 20
    assert [name for name, allowed in own if int(allowed)] == []


def test_grants_survive_a_deployment_without_an_app_name(owner):
    role = VARIABLES["AppName"]
    may = "SELECT has_function_privilege(?, 'web.put_customer(text)', 'EXECUTE')::int"
    deploy(owner, SQL / "postgresql", variables=VARIABLES, report=lambda step: None)
    deploy(owner, SQL / "postgresql", variables={}, report=lambda step: None, skip=["*grants*"])
    assert owner.execute(may, role).fetchval() == 1


def test_a_deployment_stops_at_the_first_error_and_names_the_batch(owner, tmp_path):
    (tmp_path / "1_first.sql").write_text("CREATE TABLE reached (a int);")
    (tmp_path / "2_second.sql").write_text("SELECT 1;\nSELECT no_such_column;")
    (tmp_path / "3_third.sql").write_text("DROP TABLE reached;")
    with pytest.raises(DeploymentError, match=r"2_second\.sql, batch 1 of 1 \(line 1\): .*no_such"):
        deploy(owner, tmp_path, variables={}, report=lambda step: None)
    assert owner.execute("SELECT count(*) FROM reached").fetchval() == 0


def test_a_connection_in_a_transaction_is_refused(owner, tmp_path):
    (tmp_path / "1_a.sql").write_text("SELECT 1")
    owner.autocommit = False
    try:
        with pytest.raises(ValueError, match="autocommit"):
            deploy(owner, tmp_path, variables={}, report=lambda step: None)
    finally:
        owner.rollback()
        owner.autocommit = True
