"""`flask sql check` and the sample over Microsoft's driver: what is asked, what is made of it."""

from __future__ import annotations

import csv

import pytest

from deploy.required_objects import RequiredObjects, missing
from deploy.sample_rows import SAMPLES, fill_empty
from settings import ROOT
from testkit.tds.messages import Column
from testkit.tds.script import Reply, Request, Rows, ServerError
from testkit.tds.server import TdsServer
from tests.wire.conftest import Connect

READ = "web.get_customer"
TABLE = "dbo.titanic_passanger"
NEEDS = RequiredObjects({READ: False}, {TABLE})
PROCEDURE_COLUMNS = (Column("found", "int"), Column("allowed", "int"))


def database(
    *,
    found: int | None = 7,
    execute: int | None = 1,
    parameters: tuple[str, ...] = ("@Json nvarchar(max)",),
    select: int | None = 1,
):
    """A script that answers as a database with this one procedure and table would."""

    def script(request: Request) -> Reply:
        if "sys.parameters" in request.statement:
            return Reply(Rows((Column("parameter"),), [(p,) for p in parameters]))
        if "OBJECT_ID" in request.statement:
            return Reply(Rows(PROCEDURE_COLUMNS, [(found, execute)]))
        return Reply(Rows((Column("allowed", "int"),), [(select,)]))

    return script


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"found": None, "execute": None}, f"{READ}: there is no such procedure"),
        ({"execute": 0}, f"{READ}: this user may not execute it."),
        ({"parameters": ()}, f"{READ}: its one parameter must be @Json nvarchar(max)."),
        ({"parameters": ("@Json nvarchar",)}, f"{READ}: its one parameter must be"),
        ({"parameters": ("@Json nvarchar(max)", "@More int")}, f"{READ}: its one parameter must"),
        ({"select": None}, f"{TABLE}: there is no such table, or this user may not select"),
        ({"select": 0}, f"{TABLE}: there is no such table, or this user may not select"),
    ],
)
def test_each_thing_that_is_missing_has_a_sentence(
    server: TdsServer, connect: Connect, state: dict, sentence: str
):
    server.on_execute(database(**state))
    (said,) = missing(connect(), NEEDS)
    assert said.startswith(sentence)


def test_nothing_is_said_of_what_is_there(server: TdsServer, connect: Connect):
    server.on_execute(database())
    assert missing(connect(), NEEDS) == []
    assert [r.values for r in server.executions] == [(READ, READ), (7,), (TABLE,)]


def test_an_engine_that_does_not_tell_parameters_is_not_blamed(server: TdsServer, connect: Connect):
    script = database()
    refusal = Reply(ServerError(33557097, "relation does not exist"))
    server.on_execute(lambda r: refusal if "sys.parameters" in r.statement else script(r))
    assert missing(connect(), NEEDS) == []


def counted(rows: int):
    return lambda r: Reply(Rows((Column("", "int"),), [(rows,)] if "COUNT" in r.statement else []))


def test_the_sample_goes_whole_into_empty_tables_in_a_transaction_each(
    server: TdsServer, connect: Connect
):
    server.on_execute(counted(0))
    said: list[str] = []
    connection = connect()
    fill_empty(connection, report=said.append)
    assert said == [
        "Sales.Customers: 663 rows of the sample.",
        "dbo.titanic_passanger: 100 rows of the sample.",
    ]
    assert connection.autocommit
    inserted = [r.values for r in server.executions if r.values]
    with (ROOT / "data" / "customers.csv").open(encoding="utf-8", newline="") as file:
        customers = [tuple(row) for row in list(csv.reader(file))[1:]]
    # AddressLine2 is the column that may be NULL.
    wanted = [(*row[:6], row[6] or None, *row[7:], row[0]) for row in customers]
    assert [values[:9] for values in inserted[:663]] == wanted
    assert len(inserted) == 763


def test_tables_that_have_rows_are_left_alone(server: TdsServer, connect: Connect):
    server.on_execute(counted(1))
    said: list[str] = []
    fill_empty(connect(), report=said.append)
    assert said == [
        f"{sample.table} has rows already; left as it is." for sample in SAMPLES["sqlserver"]
    ]
    assert not [r for r in server.executions if "INSERT" in r.statement]
