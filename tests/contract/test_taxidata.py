"""Trips of the shipped sample, held against the Parquet file they came from."""

from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from settings import ROOT
from testkit.api_client import assert_problem

SAMPLE: Path = ROOT / "data" / "taxidata.parquet"
TRIP = {
    "VendorID": 1,
    "tpep_pickup_datetime": "2019-01-31T13:34:15",
    "tpep_dropoff_datetime": "2019-01-31T13:55:37",
    "trip_distance": 3.2,
    "store_and_fwd_flag": False,
    "PULocationID": 236,
    "DOLocationID": 263,
    "fare_amount": 15.5,
    "tip_amount": 3.7,
    "total_amount": 20,
}
COLUMNS = [
    *("VendorID", "tpep_pickup_datetime", "tpep_dropoff_datetime", "passenger_count"),
    *("trip_distance", "RatecodeID", "store_and_fwd_flag", "PULocationID", "DOLocationID"),
    *("payment_type", "fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount"),
    *("improvement_surcharge", "total_amount", "congestion_surcharge"),
]
SPELLINGS = ["/taxidata", "/taxidataprice", "/taxidateprice"]


def as_answered(trip):
    """A row of the file in the types of the API's JSON."""
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in trip.items()}


def in_any_order(trips):
    return sorted(repr([trip[column] for column in COLUMNS]) for trip in trips)


def in_types_of(trips):
    """Amounts as floats, so that 20 and 20.0 are alike."""
    return in_any_order(
        {k: float(v) if type(v) is int else v for k, v in trip.items()} for trip in trips
    )


@pytest.fixture(scope="module")
def sample():
    return [as_answered(trip) for trip in pq.read_table(SAMPLE).to_pylist()]


@pytest.fixture
def trips(api):
    def get(path, **query):
        response = api.get(path, params=query)
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"] == "application/json"
        return response.json()

    return get


@pytest.mark.parametrize("route", SPELLINGS)
def test_the_trip_of_the_readme_is_among_those_of_20_dollars(trips, route):
    found = trips(f"{route}/20")
    assert {trip["total_amount"] for trip in found} == {20}
    (trip,) = [t for t in found if t["tpep_pickup_datetime"] == TRIP["tpep_pickup_datetime"]]
    assert trip.items() >= TRIP.items()
    assert trip["store_and_fwd_flag"] is False


@pytest.mark.parametrize("route", SPELLINGS)
def test_an_amount_finds_its_trips_and_no_others(trips, sample, route):
    amounts = [trip["total_amount"] for trip in sample]
    for amount in {min(amounts), max(amounts), 7.8, 20.0}:
        wanted = [trip for trip in sample if trip["total_amount"] == amount]
        assert in_types_of(trips(f"{route}/{amount:g}")) == in_types_of(wanted)


def test_an_amount_that_no_trip_has_is_an_empty_list(api):
    response = api.get("/taxidataprice/999999")
    assert (response.status_code, response.json()) == (200, [])


def test_every_trip_has_the_18_columns_in_the_samples_order(trips):
    assert all(list(trip) == COLUMNS for trip in trips("/taxidata"))


@pytest.mark.parametrize("route", ["/taxidata", "/taxidataall"])
def test_a_thousand_trips_come_unasked(trips, route):
    assert len(trips(route)) == 1000


def test_both_spellings_of_all_trips_answer_alike(api):
    assert api.get("/taxidata").text == api.get("/taxidataall").text


def test_all_trips_of_the_sample_come_as_they_are_in_its_file(trips, sample):
    assert in_types_of(trips("/taxidata", limit=5000)) == in_types_of(sample)


def test_numbers_are_plain_decimals(api):
    text = api.get("/taxidata?limit=5000").text
    assert "e+" not in text.lower()
    assert "e-" not in text.lower()


def test_trips_come_in_the_order_of_their_pick_up(trips):
    pickups = [trip["tpep_pickup_datetime"] for trip in trips("/taxidata", limit=5000)]
    assert pickups == sorted(pickups)


def test_pages_by_limit_and_offset_make_up_the_whole(trips):
    whole = trips("/taxidata", limit=100)
    pages = [trips("/taxidata", limit=30, offset=offset) for offset in (0, 30, 60, 90)]
    assert [trip for page in pages for trip in page][:100] == whole
    assert trips("/taxidata", limit=10, offset=1_000_000) == []


FILTERS = {
    "total_amount": ({"total_amount": "20"}, lambda t: t["total_amount"] == 20),
    "payment_type": ({"payment_type": "2"}, lambda t: t["payment_type"] == 2),
    "PULocationID": ({"PULocationID": "236"}, lambda t: t["PULocationID"] == 236),
    "pickup_from": (
        {"pickup_from": "2019-01-31T13:34:15"},
        lambda t: t["tpep_pickup_datetime"] >= "2019-01-31T13:34:15",
    ),
    "pickup_to, which is not within": (
        {"pickup_to": "2019-01-31T13:34:15"},
        lambda t: t["tpep_pickup_datetime"] < "2019-01-31T13:34:15",
    ),
    "all at once": (
        {"pickup_from": "2019-01-31", "pickup_to": "2019-02-01", "payment_type": "1"},
        lambda t: t["tpep_pickup_datetime"].startswith("2019-01-31") and t["payment_type"] == 1,
    ),
}


@pytest.mark.parametrize(("query", "fits"), FILTERS.values(), ids=FILTERS)
def test_a_filter_leaves_the_trips_that_fit(trips, sample, query, fits):
    wanted = [trip for trip in sample if fits(trip)]
    assert 0 < len(wanted) < len(sample)
    assert in_types_of(trips("/taxidata", limit=5000, **query)) == in_types_of(wanted)


def test_limit_and_offset_hold_for_an_amount_as_well(trips):
    whole = trips("/taxidataprice/20")
    assert len(whole) > 1
    assert trips("/taxidataprice/20", limit=1) == whole[:1]
    assert trips("/taxidataprice/20", offset=1) == whole[1:]


def test_trips_can_not_be_written(api):
    assert_problem(api.put("/taxidata", json={}), 405, "method-not-allowed")


def test_a_time_may_have_a_blank_in_the_place_of_the_t(api):
    query = {"pickup_from": "2019-01-31 00:00:00", "pickup_to": "2019-01-31 12:00:00"}
    found = api.get("/taxidata", params=query).json()
    with_t = {name: text.replace(" ", "T") for name, text in query.items()}
    assert found == api.get("/taxidata", params=with_t).json() != []
