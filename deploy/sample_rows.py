"""Loads the shipped customers and passengers into a configured database, over ODBC."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyodbc

from database.dialects import dialect_of

DATA = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True)
class Sample:
    """A file of data/ and its table.

    constants: further columns that the table requires, with one value for all rows.
    nullable: the columns where an empty value becomes NULL; None means all. In other columns it
    stays an empty string.
    """

    file: str
    table: str
    constants: Mapping[str, Any] = field(default_factory=dict)
    nullable: frozenset[str] | None = None


PASSENGERS = Sample("passengers.csv", "dbo.titanic_passanger")
# The same values as web.put_customer uses; a customer is billed to itself.
WIDE_WORLD_CUSTOMERS = Sample(
    "customers.csv",
    "Sales.Customers",
    {
        "CustomerCategoryID": 5,
        "PrimaryContactPersonID": 1,
        "DeliveryMethodID": 1,
        "DeliveryCityID": 28561,
        "PostalCityID": 28561,
        "AccountOpenedDate": "2013-01-01",
        "StandardDiscountPercentage": 0,
        "IsStatementSent": 0,
        "IsOnCreditHold": 0,
        "PaymentDays": 30,
        "PostalAddressLine1": "",
        "PostalPostalCode": "",
        "LastEditedBy": 1,
    },
    nullable=frozenset({"DeliveryAddressLine2"}),
)
SAMPLES = {
    "sqlserver": (WIDE_WORLD_CUSTOMERS, PASSENGERS),
    "postgresql": (Sample("customers.csv", "sales.customers"), PASSENGERS),
}


def fill_empty(connection: pyodbc.Connection, *, report: Callable[[str], None]) -> None:
    """Load each file of the sample whose table is empty, in one transaction per file.

    `report` gets a sentence for each table. The connection is left in autocommit.
    Raises pyodbc.Error.
    """
    for sample in SAMPLES[dialect_of(connection).name]:
        connection.autocommit = False
        try:
            count = _fill(connection, sample)
            connection.commit()
        except pyodbc.Error:
            connection.rollback()
            raise
        finally:
            connection.autocommit = True
        report(
            f"{sample.table}: {count} rows of the sample."
            if count
            else f"{sample.table} has rows already; left as it is."
        )


def _fill(connection: pyodbc.Connection, sample: Sample) -> int:
    with connection.cursor() as cursor:
        if cursor.execute(f"SELECT COUNT(*) FROM {sample.table}").fetchval():
            return 0
        with (DATA / sample.file).open(encoding="utf-8", newline="") as file:
            rows = [_completed(row, sample) for row in csv.DictReader(file)]
        columns = ", ".join(f'"{column}"' for column in rows[0])
        marks = ", ".join("?" * len(rows[0]))
        cursor.executemany(
            f"INSERT INTO {sample.table} ({columns}) VALUES ({marks})",
            [[*row.values()] for row in rows],
        )
    return len(rows)


def _completed(row: Mapping[str, str], sample: Sample) -> dict[str, Any]:
    completed: dict[str, Any] = {
        column: text or (None if sample.nullable is None or column in sample.nullable else "")
        for column, text in row.items()
    }
    if sample is WIDE_WORLD_CUSTOMERS:
        completed["BillToCustomerID"] = row["CustomerID"]
    return {**completed, **sample.constants}
