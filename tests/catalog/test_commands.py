"""`flask procedures`, `flask sql run` and the contract of `flask sql check`, as they are typed."""

import json

import pytest

from embedded.cluster import API_ROLE, OWNER
from settings import ROOT

SCRIPT = """
CREATE TABLE api.orders (order_id int PRIMARY KEY, amount numeric(10,2));
CREATE FUNCTION api.get_order(order_id int) RETURNS SETOF api.orders LANGUAGE sql STABLE
    AS 'SELECT * FROM api.orders o WHERE o.order_id = $1';
COMMENT ON FUNCTION api.get_order IS 'One order.';
CREATE FUNCTION api.create_order(amount numeric, note text DEFAULT '') RETURNS int LANGUAGE sql
    AS 'SELECT 1';
CREATE FUNCTION api.get_interval(a interval) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE api.archive() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
COMMENT ON PROCEDURE api.archive IS '@nontransactional';
"""
NO_KEYS = "no. ERP lacks the key table: flask sql deploy --target ERP --keys makes it."
KEYS = ROOT / "sql" / "keys" / "postgresql"


@pytest.fixture
def erp(postgresql, cluster, flask):
    """Run a command where ERP is the one database; and run(sql) in it."""
    _, run = postgresql
    run(SCRIPT)
    text = cluster.connection_string(role=API_ROLE)
    return lambda *words, **more: flask(*words, **{"POSTGRESQLCONNSTR_ERP": text, **more}), run


def test_procedures_are_listed_with_their_routes_or_the_reason(erp):
    flask, _ = erp
    done = flask("procedures")
    assert done.exit_code == 0
    heading, *lines = (line.split("  ") for line in done.output.splitlines())
    assert [cell.strip() for cell in heading if cell] == [
        *("METHOD", "ROUTE", "PROCEDURE", "PARAMETERS", "EXACTLY ONCE")
    ]
    assert [[cell.strip() for cell in line if cell] for line in lines] == [
        [
            *("POST", "/archive", "ERP: api.archive", "none"),
            "no. It is marked @nontransactional: it is never repeated after it may have run.",
        ],
        [
            *("POST", "/order", "ERP: api.create_order"),
            *("amount numeric (body), note? text (body)", NO_KEYS),
        ],
        [
            *("PUT", "/order", "ERP: api.create_order"),
            *("amount numeric (body), note? text (body)", NO_KEYS),
        ],
        [
            *("GET", "/order/{order_id}", "ERP: api.get_order"),
            *("order_id integer (path)", "a read"),
        ],
        [
            "ERP: api.get_interval has no route: a has the type interval,"
            " which no JSON value stands for."
        ],
    ]


def test_procedures_are_listed_for_programs(erp):
    flask, _ = erp
    done = flask("procedures", "--json")
    assert done.exit_code == 0
    found = json.loads(done.output)
    assert [o["operationId"] for o in found["operations"]] == [
        *("archive", "createOrder", "putOrder", "getOrder")
    ]
    assert found["operations"][3] == {
        "method": "GET",
        "route": "/order/{order_id}",
        "operationId": "getOrder",
        "database": "ERP",
        "procedure": "api.get_order",
        "parameters": [
            {
                "name": "order_id",
                "in": "path",
                "type": "integer",
                "required": True,
                "schema": {
                    "type": "integer",
                    "minimum": -2147483648,
                    "maximum": 2147483647,
                    "format": "int32",
                },
            }
        ],
        "document": None,
        "status": 200,
        "reads": True,
        "exactlyOnce": False,
        "whyNot": None,
        "summary": "One order.",
    }
    assert [r["procedure"] for r in found["refused"]] == ["api.get_interval"]


def test_exactly_once_is_promised_where_the_key_table_is_usable(erp):
    flask, run = erp
    run((KEYS / "010_keys.sql").read_text())
    run((KEYS / "090_grants.sql").read_text().replace("$(AppName)", API_ROLE))
    try:
        found = json.loads(flask("procedures", "--json").output)["operations"]
    finally:
        run("DROP SCHEMA procedures_api CASCADE")
    assert {o["operationId"]: o["exactlyOnce"] for o in found} == {
        "archive": False,
        "createOrder": True,
        "putOrder": True,
        "getOrder": False,
    }


def test_the_openapi_document_has_the_procedures_of_the_database(erp):
    flask, _ = erp
    done = flask("openapi")
    assert done.exit_code == 0, done.output
    order = json.loads(done.output)["paths"]["/order/{order_id}"]["get"]
    assert (order["operationId"], order["summary"]) == ("getOrder", "One order")


def test_without_a_procedure_the_setting_is_named(erp):
    flask, _ = erp
    done = flask("procedures", EXPOSED_SCHEMAS="none")
    assert (done.exit_code, done.output) == (
        0,
        "There are no procedures in the schemas that EXPOSED_SCHEMAS names.\n",
    )
    assert flask("procedures", EXPOSED_SCHEMAS="CRM:api").output == done.output


def test_two_databases_with_one_route_are_refused(erp, cluster):
    flask, _ = erp
    done = flask("procedures", POSTGRESQLCONNSTR_CRM=cluster.connection_string(role=API_ROLE))
    assert done.exit_code == 1
    assert "is the route of api.archive of CRM and of api.archive of ERP" in done.output
    assert "EXPOSED_SCHEMAS=CRM:api" in done.output


def test_a_python_resource_of_the_sample_comes_first(postgresql, cluster, flask):
    _, run = postgresql
    run("CREATE FUNCTION api.get_customer(id int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    text = cluster.connection_string(role=API_ROLE)
    done = flask("procedures", POSTGRESQLCONNSTR_WWIF=text)
    assert done.exit_code == 0
    assert done.output == (
        "WWIF: api.get_customer has no route: GET /customer/{id} is served by Customer,"
        " a Python resource, which comes first.\n"
    )


def test_the_contract_is_locked_and_a_breaking_change_fails_the_check(erp, tmp_path):
    flask, run = erp
    lock = tmp_path / "procedures.lock.json"
    done = flask("procedures", "--lock", str(lock))
    assert (done.exit_code, done.output) == (0, f"Wrote 4 operations to {lock}.\n")
    check = ("sql", "check", "--lock", str(lock))
    done = flask(*check)
    assert (done.exit_code, done.output) == (0, "ERP: 4 operations out of the catalog.\n")
    run("ALTER TABLE api.orders DROP COLUMN amount")
    run("DROP PROCEDURE api.archive; DROP FUNCTION api.create_order(numeric, text)")
    run(
        "CREATE FUNCTION api.create_order(amount int, note text) RETURNS int LANGUAGE sql"
        " AS 'SELECT 1'"
    )
    done = flask(*check)
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "ERP: 3 operations out of the catalog.",
        "GET /order/{order_id}: column amount is removed.",
        "POST /archive: the route is removed.",
        "POST /order: body parameter amount is changed from numeric to integer.",
        "POST /order: body parameter note is required now.",
        "PUT /order: body parameter amount is changed from numeric to integer.",
        "PUT /order: body parameter note is required now.",
    ]


def test_a_database_that_can_not_be_read_has_not_lost_its_routes(erp, tmp_path):
    flask, _ = erp
    lock = tmp_path / "lock.json"
    assert flask("procedures", "--lock", str(lock)).exit_code == 0
    nowhere = f"SERVER={tmp_path};DATABASE=x;UID=x"
    done = flask("sql", "check", "--lock", str(lock), POSTGRESQLCONNSTR_ERP=nowhere)
    assert done.exit_code == 1
    assert "is removed" not in done.output


def test_files_are_run_in_a_database(erp, cluster, tmp_path):
    flask, run = erp
    owner = cluster.connection_string(role=OWNER)
    first, second = tmp_path / "a.sql", tmp_path / "b.sql"
    first.write_text("CREATE FUNCTION api.$(Name)() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    second.write_text("COMMENT ON FUNCTION api.get_one IS 'One.'")
    words = ("sql", "run", str(first), str(second), "--target", "ERP", "--set", "Name=get_one")
    done = flask(*words, POSTGRESQLCONNSTR_ERP=owner)
    assert done.exit_code == 0
    assert done.output.endswith("Ran 2 batches in ERP.\n")
    assert run("SELECT obj_description('api.get_one'::regproc)").strip() == "One."


def test_the_first_error_stops_the_run_and_is_named(erp, cluster, tmp_path):
    flask, run = erp
    bad, never = tmp_path / "bad.sql", tmp_path / "never.sql"
    bad.write_text("SELECT nonsense")
    never.write_text("CREATE TABLE api.never (x int)")
    owner = cluster.connection_string(role=OWNER)
    words = ("sql", "run", str(bad), str(never), "--target", "ERP")
    done = flask(*words, POSTGRESQLCONNSTR_ERP=owner)
    assert done.exit_code == 1
    assert "bad.sql, batch 1 of 1 (line 1)" in done.output
    assert "nonsense" in done.output
    assert run("SELECT to_regclass('api.never')").strip() == ""


def test_an_unknown_database_is_refused_with_the_known_ones(erp, tmp_path):
    flask, _ = erp
    script = tmp_path / "a.sql"
    script.write_text("SELECT 1")
    done = flask("sql", "run", str(script), "--target", "CRM")
    assert done.exit_code == 1
    assert done.output == "Error: There is no database CRM; use one of: ERP.\n"


def test_without_a_target_files_run_in_the_only_database(erp, cluster, tmp_path, monkeypatch):
    flask, _ = erp
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.sql").write_text("CREATE SCHEMA IF NOT EXISTS api")
    owner = cluster.connection_string(role=OWNER)
    done = flask("sql", "run", "a.sql", POSTGRESQLCONNSTR_ERP=owner)
    assert (done.exit_code, done.output) == (
        0,
        "a.sql, batch 1 of 1 (line 1)\nRan 1 batches in ERP.\n",
    )
    several = flask(
        *("sql", "run", "a.sql"), POSTGRESQLCONNSTR_ERP=owner, POSTGRESQLCONNSTR_CRM=owner
    )
    assert several.exit_code == 2
    assert several.output.endswith("Error: Add --target with one of: CRM, ERP.\n")


def test_the_embedded_default_takes_files_and_its_api_may_use_them(folder, flask, tmp_path):
    script = tmp_path / "order.sql"
    script.write_text(f"CREATE SCHEMA api;{SCRIPT}INSERT INTO api.orders VALUES (7, 2.5);")
    local = {"LOCAL_DIR": str(folder)}
    done = flask("sql", "run", str(script), "--target", "embedded", **local)
    assert done.exit_code == 0, done.output
    assert done.output.endswith("The API may use the schema api.\nRan 1 batches in embedded.\n")
    listed = flask("procedures", **local)
    assert "GET     /order/{order_id}  embedded: api.get_order" in listed.output
    assert "grant EXECUTE" not in listed.output
    assert flask("sql", "run", str(script), "--target", "ERP", **local).output == (
        "Error: There is no database ERP; use one of: embedded.\n"
    )
    checked = flask("sql", "check", **local)
    assert checked.output.endswith("embedded: 4 operations out of the catalog.\n")
    assert checked.exit_code == 0
