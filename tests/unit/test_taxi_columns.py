"""Each variant of the TLC's columns is converted with a note, or rejected with a reason."""

from datetime import date, datetime, timezone
from decimal import Decimal

import pyarrow as pa
import pytest

from taxi.columns import TABLE_SCHEMA, LoadError, TripColumns

NOON = datetime(2019, 1, 31, 12)
TRIP = {
    "VendorID": pa.array([1], pa.int16()),
    "tpep_pickup_datetime": pa.array([NOON], pa.timestamp("us")),
    "tpep_dropoff_datetime": pa.array([NOON], pa.timestamp("us")),
    "passenger_count": pa.array([1], pa.int16()),
    "trip_distance": pa.array([3.2]),
    "RatecodeID": pa.array([1], pa.int16()),
    "store_and_fwd_flag": pa.array([False]),
    "PULocationID": pa.array([236], pa.int16()),
    "DOLocationID": pa.array([263], pa.int16()),
    "payment_type": pa.array([1], pa.int16()),
    "fare_amount": pa.array([15.5]),
    "extra": pa.array([0.0]),
    "mta_tax": pa.array([0.5]),
    "tip_amount": pa.array([3.7]),
    "tolls_amount": pa.array([0.0]),
    "improvement_surcharge": pa.array([0.3]),
    "total_amount": pa.array([20.0]),
    "congestion_surcharge": pa.array([0.0]),
}


def converted(without=(), **columns):
    """The converted column of the last of `columns`, and all notes."""
    rows = max((len(values) for values in columns.values()), default=1)
    batch = {name: values.take([0] * rows) for name, values in TRIP.items() if name not in without}
    batch = pa.record_batch(batch | columns)
    trip_columns = TripColumns(batch.schema)
    table = trip_columns.convert(batch.select(trip_columns.sources))
    assert table.schema == TABLE_SCHEMA
    return table.to_pydict(), trip_columns.notes + trip_columns.late_notes()


def refusal(without=(), **columns):
    with pytest.raises(LoadError) as refused:
        converted(without, **columns)
    return str(refused.value)


def test_columns_of_the_sample_are_accepted_without_notes():
    table, notes = converted()
    assert {name: values[0] for name, values in table.items()} == {
        name: values[0].as_py() for name, values in TRIP.items()
    }
    assert notes == []


@pytest.mark.parametrize("given", [pa.int32(), pa.int64(), pa.uint8(), pa.uint64()])
def test_wider_integers_are_narrowed_with_a_note(given):
    table, notes = converted(VendorID=pa.array([2, None], given))
    assert table["VendorID"] == [2, None]
    assert notes == [f"VendorID: {given} to smallint"]


@pytest.mark.parametrize("given", [pa.int32(), pa.int64(), pa.float64()])
def test_an_integer_beyond_its_column_is_refused_with_the_value(given):
    said = refusal(passenger_count=pa.array([1, 32_768], given))
    assert "passenger_count has the value 32768" in said
    assert "beyond smallint (-32768 to 32767)" in said


def test_the_whole_range_of_smallint_is_taken():
    table, _ = converted(VendorID=pa.array([-32_768, 32_767], pa.int64()))
    assert table["VendorID"] == [-32_768, 32_767]


def test_doubles_with_nulls_become_integers():
    table, notes = converted(passenger_count=pa.array([1.0, None, float("nan")]))
    assert table["passenger_count"] == [1, None, None]
    assert notes == [
        "passenger_count: double to smallint",
        "passenger_count: 1 values stored as NULL (not a finite number)",
    ]


def test_a_fraction_in_an_integer_column_is_refused_with_the_value():
    assert "RatecodeID has the value 1.5, which is not whole" in refusal(
        RatecodeID=pa.array([1.0, 1.5])
    )


@pytest.mark.parametrize("text", [pa.string(), pa.large_string()])
def test_flags_of_letters_become_booleans(text):
    given = pa.array(["Y", "N", "y", "n", "N ", "", None], text)
    table, notes = converted(store_and_fwd_flag=given)
    assert table["store_and_fwd_flag"] == [True, False, True, False, False, None, None]
    assert f"store_and_fwd_flag: {text} to boolean" in notes
    assert "store_and_fwd_flag: 1 values stored as NULL (neither Y nor N)" in notes


def test_flags_in_a_dictionary_become_booleans():
    given = pa.array(["Y", "N"]).dictionary_encode()
    assert converted(store_and_fwd_flag=given)[0]["store_and_fwd_flag"] == [True, False]


def test_flags_of_numbers_become_booleans():
    given = pa.array([1.0, 0.0, None])
    assert converted(store_and_fwd_flag=given)[0]["store_and_fwd_flag"] == [True, False, None]


@pytest.mark.parametrize(("given", "value"), [(pa.array(["X"]), "'X'"), (pa.array([2]), "2")])
def test_another_flag_is_refused_with_the_value(given, value):
    assert f"store_and_fwd_flag has the value {value}" in refusal(store_and_fwd_flag=given)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_any_unit_become_microseconds(unit):
    table, notes = converted(tpep_pickup_datetime=pa.array([NOON], pa.timestamp(unit)))
    assert table["tpep_pickup_datetime"] == [NOON]
    assert bool(notes) == (unit != "us")


def test_nanoseconds_below_a_microsecond_are_dropped():
    given = pa.array([1_548_936_000_000_000_999]).cast(pa.timestamp("ns"))
    assert converted(tpep_pickup_datetime=given)[0]["tpep_pickup_datetime"] == [NOON]


def test_a_time_zone_is_converted_to_utc_with_a_note():
    given = pa.array([NOON.replace(tzinfo=timezone.utc)], pa.timestamp("us", tz="America/New_York"))
    table, notes = converted(tpep_pickup_datetime=given)
    assert table["tpep_pickup_datetime"] == [NOON]
    assert notes == [
        "tpep_pickup_datetime: timestamp[us, tz=America/New_York] to UTC without a time zone"
    ]


def test_times_written_as_text_and_dates_are_taken():
    table, _ = converted(
        tpep_pickup_datetime=pa.array(["2019-01-31 12:00:00 "]),
        tpep_dropoff_datetime=pa.array([date(2019, 2, 1)]),
    )
    assert table["tpep_pickup_datetime"] == [NOON]
    assert table["tpep_dropoff_datetime"] == [datetime(2019, 2, 1)]


def test_text_that_is_no_time_is_refused_with_the_text():
    said = refusal(tpep_pickup_datetime=pa.array(["yesterday"]))
    assert said.startswith("tpep_pickup_datetime")
    assert "yesterday" in said


def test_a_time_that_json_has_no_year_for_is_refused():
    given = pa.array([10**18]).cast(pa.timestamp("us"))
    assert "years 1 to 9999" in refusal(tpep_pickup_datetime=given)


def test_floats_keep_their_decimal_digits():
    table, notes = converted(total_amount=pa.array([7.8, 1e-3, 123456.7], pa.float32()))
    assert table["total_amount"] == [7.8, 0.001, 123456.7]
    assert notes == ["total_amount: float to double precision"]


def test_decimals_become_doubles():
    given = pa.array([Decimal("7.80"), None], pa.decimal128(10, 2))
    table, notes = converted(total_amount=given)
    assert table["total_amount"] == [7.8, None]
    assert notes == ["total_amount: decimal128(10, 2) to double precision"]


def test_integers_become_doubles():
    assert converted(fare_amount=pa.array([52]))[0]["fare_amount"] == [52.0]


def test_values_that_json_lacks_become_null_with_their_count():
    given = pa.array([1.5, float("nan"), float("inf"), float("-inf")])
    table, notes = converted(tip_amount=given)
    assert table["tip_amount"] == [1.5, None, None, None]
    assert notes == ["tip_amount: 3 values stored as NULL (not a finite number)"]


def test_a_negative_zero_loses_its_sign():
    assert str(converted(extra=pa.array([-0.0]))[0]["extra"]) == "[0.0]"


@pytest.mark.parametrize("name", ["airport_fee", "Airport_fee", "cbd_congestion_fee"])
def test_columns_the_table_lacks_are_left_out_by_name(name):
    _, notes = converted(**{name: pa.array([1.25])})
    assert notes == [f"{name}: left out, the table has no such column"]


@pytest.mark.parametrize(
    ("name", "year"), [("congestion_surcharge", 2019), ("improvement_surcharge", 2015)]
)
def test_a_surcharge_that_older_files_lack_is_null_with_a_note(name, year):
    table, notes = converted(without=[name])
    assert table[name] == [None]
    assert notes == [f"{name}: not in the file, stored as NULL (charged since {year} only)"]


@pytest.mark.parametrize("name", sorted(TRIP.keys() - {"congestion_surcharge"}))
def test_names_are_matched_in_any_case(name):
    table, notes = converted(without=[name], **{name.swapcase(): TRIP[name]})
    assert table[name] == TRIP[name].to_pylist()
    assert notes == [f"{name}: read from {name.swapcase()}"]


def test_a_column_without_values_of_any_type_is_null():
    table, notes = converted(congestion_surcharge=pa.nulls(1), store_and_fwd_flag=pa.nulls(1))
    assert table["congestion_surcharge"] == table["store_and_fwd_flag"] == [None]
    assert "congestion_surcharge: null to double precision" in notes


def test_green_taxis_columns_are_taken():
    table, notes = converted(
        without=["tpep_pickup_datetime", "tpep_dropoff_datetime"],
        lpep_pickup_datetime=TRIP["tpep_pickup_datetime"],
        lpep_dropoff_datetime=TRIP["tpep_dropoff_datetime"],
        trip_type=pa.array([1]),
        ehail_fee=pa.nulls(1),
    )
    assert table["tpep_pickup_datetime"] == [NOON]
    assert "tpep_pickup_datetime: read from lpep_pickup_datetime" in notes
    assert "ehail_fee: left out, the table has no such column" in notes


def test_a_file_of_2009_is_taken_with_its_words_and_without_zones():
    batch = pa.record_batch(
        {
            "vendor_name": pa.array(["VTS", "CMT", "DDS"]),
            "Trip_Pickup_DateTime": pa.array(["2009-01-04 02:52:00"] * 3),
            "Trip_Dropoff_DateTime": pa.array(["2009-01-04 03:02:00"] * 3),
            "Passenger_Count": pa.array([1, 3, 5]),
            "Trip_Distance": pa.array([2.63, 4.55, 10.35]),
            "Start_Lon": pa.array([-73.99] * 3),
            "Start_Lat": pa.array([40.72] * 3),
            "Rate_Code": pa.array([None, None, None], pa.float64()),
            "store_and_forward": pa.array([None, 0.0, 1.0]),
            "End_Lon": pa.array([-73.99] * 3),
            "End_Lat": pa.array([40.69] * 3),
            "Payment_Type": pa.array(["CASH", "Credit", "No Charge"]),
            "Fare_Amt": pa.array([8.9, 12.1, 23.7]),
            "surcharge": pa.array([0.5, 0.5, 0.0]),
            "mta_tax": pa.array([None, None, None], pa.float64()),
            "Tip_Amt": pa.array([0.0, 2.0, 4.74]),
            "Tolls_Amt": pa.array([0.0, 0.0, 0.0]),
            "Total_Amt": pa.array([9.4, 14.6, 28.44]),
        }
    )
    columns = TripColumns(batch.schema)
    table = columns.convert(batch.select(columns.sources)).to_pydict()
    assert table["VendorID"] == [2, 1, None]
    assert table["payment_type"] == [2, 1, 3]
    assert table["tpep_pickup_datetime"] == [datetime(2009, 1, 4, 2, 52)] * 3
    assert table["store_and_fwd_flag"] == [None, False, True]
    assert table["extra"] == [0.5, 0.5, 0.0]
    assert table["PULocationID"] == table["DOLocationID"] == [None] * 3
    notes = columns.notes + columns.late_notes()
    assert (
        "PULocationID: not in the file, stored as NULL (the file has coordinates and no zones)"
        in notes
    )
    assert "VendorID: 1 values stored as NULL (words without a number)" in notes


def test_an_unknown_word_is_rejected_by_name():
    said = refusal(payment_type=pa.array(["barter"]))
    assert said.startswith("payment_type")
    assert "barter" in said


@pytest.mark.parametrize(
    "name", sorted(TRIP.keys() - {"congestion_surcharge", "improvement_surcharge"})
)
def test_an_absent_required_column_is_named(name):
    said = refusal(without=[name])
    assert said.startswith(f"it lacks the column {name};")


def test_all_absent_columns_are_named_at_once():
    said = refusal(without=["VendorID", "total_amount"])
    assert "lacks the columns VendorID, total_amount;" in said


def test_a_column_given_in_two_spellings_is_refused():
    said = refusal(vendorid=pa.array([1]))
    assert said == "it has 2 columns for VendorID: VendorID, vendorid"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("fare_amount", pa.array([[1.0]])),
        ("fare_amount", pa.array([True])),
        ("VendorID", pa.array([{"a": 1}])),
        ("tpep_pickup_datetime", pa.array([1_548_936_000])),
        ("store_and_fwd_flag", pa.array([NOON], pa.timestamp("us"))),
    ],
)
def test_a_type_without_meaning_is_refused_before_anything_is_read(name, values):
    schema = pa.record_batch(TRIP | {name: values}).schema
    with pytest.raises(LoadError, match=f"its {name} is "):
        TripColumns(schema)
