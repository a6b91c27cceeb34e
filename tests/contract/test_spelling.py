"""JSON is compared as values in order: engines space it and print decimals differently."""

import pytest

from testkit.api_client import alike

TRIP = '[{"VendorID":1,"at":"2019-01-31T13:34:15","miles":3.2,"total_amount":20,"tip":-0.05}]'


@pytest.mark.parametrize(
    "other",
    [
        TRIP.replace('":', '": ').replace(",", ", "),
        TRIP.replace("3.2", "3.2000").replace("20,", "20.0000,").replace("0.05", "0.0500"),
    ],
)
def test_another_spelling_is_alike(other):
    assert other != TRIP
    assert alike(other) == alike(TRIP) == TRIP


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TRIP, TRIP.replace("3.2", "3.02")),
        (TRIP, TRIP.replace(":20", ":200")),
        ('["a, b"]', '["a,b"]'),
        ('["1.50"]', '["1.5"]'),
        ('["a\\", 1.0"]', '["a\\",1"]'),
        ('{"a":1,"b":2}', '{"b":2,"a":1}'),
    ],
)
def test_other_values_are_not_alike(one, other):
    assert alike(one) != alike(other)
