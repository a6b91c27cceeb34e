"""The role that the API logs in as on PostgreSQL may do what the routes need, and nothing else.

The whole contract suite runs as this role, so that it may do enough is shown there.
"""

import pyodbc
import pytest

from app import create_app
from database.connect.drivers import Driver
from database.errors import Kind, classify
from embedded.cluster import API_ROLE
from operations.required_objects import required_objects_of
from settings import TARGETS, read_settings

SCHEMAS = "('web', 'dbo', 'sales', 'sequences', 'public')"
RELATIONS = f"""
SELECT c.oid::regclass || ' ' || c.relkind::text FROM pg_class c
 JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN {SCHEMAS} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
"""
FUNCTIONS = f"""
SELECT n.nspname || '.' || p.proname || '(' || oidvectortypes(p.proargtypes) || ')' FROM pg_proc p
 JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN {SCHEMAS} AND has_function_privilege('{API_ROLE}', p.oid, 'EXECUTE')
"""


@pytest.fixture(scope="module")
def app(run_folder):
    made = create_app(read_settings({"LOCAL_DIR": str(run_folder / "postgresql")}))
    yield made
    made.extensions["databases"].close()


@pytest.fixture(scope="module")
def cluster(app):
    return app.extensions["databases"].cluster()


@pytest.fixture
def as_api(cluster):
    """A connection as the API's own role, and no other."""
    driver = Driver(cluster.connection_string(role=API_ROLE), family="postgresql")
    connection = driver.connect(5)
    yield connection
    connection.close()


def refusal(connection: pyodbc.Connection, statement: str) -> Kind:
    with pytest.raises(pyodbc.Error) as refused:
        connection.execute(statement).fetchall()
    return classify(refused.value).kind


def test_the_api_logs_in_as_this_role(app):
    with app.extensions["databases"].manager("WWIF").checkout() as connection:
        who = "SELECT current_user || ' ' || session_user"
        assert connection.execute(who).fetchval() == f"{API_ROLE} {API_ROLE}"


def test_of_all_tables_one_can_be_read_and_none_written(cluster, as_api):
    relations = dict(line.rsplit(" ", 1) for line in cluster.run_sql(RELATIONS).splitlines())
    tables = {name for name, kind in relations.items() if kind != "S"}
    assert {"sales.customers", "web.requests", "dbo.taxidata"} <= tables
    for name in tables - {"dbo.titanic_passanger"}:
        assert refusal(as_api, f"SELECT 1 FROM {name} LIMIT 1") is Kind.FORBIDDEN, name
    for name in tables:
        assert refusal(as_api, f"DELETE FROM {name}") is Kind.FORBIDDEN, name
        assert refusal(as_api, f"TRUNCATE {name}") is Kind.FORBIDDEN, name
        assert refusal(as_api, f"INSERT INTO {name} DEFAULT VALUES") is Kind.FORBIDDEN, name
        assert refusal(as_api, f"DROP TABLE {name}") is Kind.FORBIDDEN, name
    assert as_api.execute("SELECT COUNT(*) FROM dbo.titanic_passanger").fetchval() == 100
    for name in relations.keys() - tables:
        assert refusal(as_api, f"SELECT nextval('{name}')") is Kind.FORBIDDEN, name


def test_exactly_the_functions_that_the_routes_need_can_be_executed(app, cluster):
    # The guard in front of a replica's read has parameters of its own.
    needed = {"web.require_request(text, timestamp with time zone)"}
    for target in TARGETS:
        for name, streams in required_objects_of(app, target).procedures.items():
            needed |= {f"{name}(text)", *([f"{name}_rows(text)"] if streams else [])}
    assert set(cluster.run_sql(FUNCTIONS).splitlines()) == needed


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sales.customers SET \"CustomerName\" = 'x'",
        'UPDATE dbo.titanic_passanger SET "Survived" = 1',
        'SELECT web.replay(\'{"key":"x"}\'::jsonb)',
        "SELECT web.remember('{\"key\":\"x\"}'::jsonb, '[]', 'e')",
        "CREATE TABLE public.x (i int)",
        "CREATE TABLE web.x (i int)",
        "CREATE TABLE dbo.x (i int)",
        "CREATE TEMPORARY TABLE x (i int)",
        "CREATE SCHEMA x",
        "CREATE FUNCTION web.x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE x",
        "CREATE DATABASE x",
        "ALTER TABLE dbo.titanic_passanger ADD COLUMN x int",
        f"ALTER ROLE {API_ROLE} SUPERUSER",
        "ALTER SYSTEM SET work_mem = '1GB'",
        "DROP FUNCTION web.get_customer(text)",
        f"GRANT SELECT ON sales.customers TO {API_ROLE}",
        "SET ROLE owner",
        "SET SESSION AUTHORIZATION owner",
        "COPY sales.customers TO STDOUT",
        "COPY dbo.titanic_passanger FROM PROGRAM 'echo'",
        "COPY dbo.titanic_passanger TO '/tmp/x'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_reload_conf()",
    ],
)
def test_what_no_route_needs_is_refused(as_api, statement):
    assert refusal(as_api, statement) is Kind.FORBIDDEN
