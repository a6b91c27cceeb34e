"""The shipped sample is what its own program makes, and holds what the README shows."""

import csv
import importlib.util
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from taxi.columns import TABLE_SCHEMA, TripColumns

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("make_sample", DATA / "make_sample.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    folder = tmp_path_factory.mktemp("sample")
    program.write(folder)
    return folder


@pytest.fixture(scope="module")
def customers():
    with (DATA / "customers.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trips():
    return pq.read_table(DATA / "taxidata.parquet")


@pytest.mark.parametrize("name", ["customers.csv", "passengers.csv"])
def test_make_sample_writes_the_same_text_again(rewritten, name):
    assert (rewritten / name).read_bytes() == (DATA / name).read_bytes()


def test_make_sample_writes_the_same_trips_again(rewritten, trips):
    # rows, not bytes: another release of pyarrow may compress otherwise
    assert pq.read_table(rewritten / "taxidata.parquet").equals(trips)


def test_customers_have_the_ids_of_wide_world_importers(customers):
    ids = [int(customer["CustomerID"]) for customer in customers]
    assert ids == [*range(1, 202), *range(401, 602), *range(801, 1062)]
    names = {int(customer["CustomerID"]): customer["CustomerName"] for customer in customers}
    assert names[1] == "Tailspin Toys (Head Office)"
    assert names[401] == "Wingtip Toys (Head Office)"
    assert all(names[i].startswith("Tailspin Toys (") for i in range(1, 202))
    assert all(names[i].startswith("Wingtip Toys (") for i in range(401, 602))
    assert not any("Toys" in names[i] for i in range(801, 1062))


def test_customer_names_are_unique_in_any_case_and_without_accents_lost(customers):
    names = [customer["CustomerName"] for customer in customers]
    assert len({name.casefold() for name in names}) == len(names)
    assert any(not name.isascii() for name in names)
    assert any("'" in name for name in names)


def test_customer_values_fit_the_columns_of_wide_world_importers(customers):
    limits = {
        "CustomerName": 100,
        "PhoneNumber": 20,
        "FaxNumber": 20,
        "WebsiteURL": 256,
        "DeliveryAddressLine1": 60,
        "DeliveryAddressLine2": 60,
        "DeliveryPostalCode": 10,
    }
    for column, limit in limits.items():
        assert max(len(customer[column]) for customer in customers) <= limit
    websites = [customer["WebsiteURL"] for customer in customers]
    assert all(website.isascii() and " " not in website for website in websites)


def test_trips_are_2000_in_the_columns_of_the_synapse_sample(trips):
    assert trips.num_rows == 2_000
    assert trips.schema.names == TABLE_SCHEMA.names
    assert not TripColumns(trips.schema).notes or all(
        "microseconds" in note for note in TripColumns(trips.schema).notes
    )
    assert (DATA / "taxidata.parquet").stat().st_size < 150_000


def test_trips_hold_the_one_of_the_readme_once(trips):
    expected = {
        "VendorID": 1,
        "tpep_pickup_datetime": datetime(2019, 1, 31, 13, 34, 15),
        "tpep_dropoff_datetime": datetime(2019, 1, 31, 13, 55, 37),
        "passenger_count": 1,
        "trip_distance": 3.2,
        "RatecodeID": 1,
        "store_and_fwd_flag": False,
        "PULocationID": 236,
        "DOLocationID": 263,
        "payment_type": 1,
        "fare_amount": 15.5,
        "extra": 0.0,
        "mta_tax": 0.5,
        "tip_amount": 3.7,
        "tolls_amount": 0.0,
        "improvement_surcharge": 0.3,
        "total_amount": 20.0,
        "congestion_surcharge": 0.0,
    }
    assert trips.to_pylist().count(expected) == 1


def test_trips_are_plausible(trips):
    rows = trips.to_pylist()
    pickups = [row["tpep_pickup_datetime"] for row in rows]
    assert pickups == sorted(pickups)
    assert sum(pickup.date() == datetime(2019, 1, 31).date() for pickup in pickups) > 900
    parts = (
        *("fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount"),
        *("improvement_surcharge", "congestion_surcharge"),
    )
    for row in rows:
        assert row["tpep_pickup_datetime"] < row["tpep_dropoff_datetime"]
        assert round(sum(row[part] for part in parts), 2) == row["total_amount"]
        assert row["trip_distance"] > 0


@pytest.mark.parametrize("amount", [10, 20, 7.8])
def test_several_trips_share_a_total_amount(trips, amount):
    assert trips["total_amount"].to_pylist().count(amount) > 5


def test_passengers_are_100_of_both_fates_and_all_classes():
    with (DATA / "passengers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == list(range(1, 101))
    assert {row["Survived"] for row in rows} == {"0", "1"}
    assert {row["Pclass"] for row in rows} == {"1", "2", "3"}
    assert {row["Sex"] for row in rows} == {"female", "male"}
    assert len({row["Name"] for row in rows}) == 100
    assert all(float(row["Age"]) >= 0 and float(row["Fare"]) > 0 for row in rows)
