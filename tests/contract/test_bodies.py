"""Bodies whose keys repeat, whatever else they contain; and bodies that only look so."""

from __future__ import annotations

import pytest

from testkit.api_client import assert_problem, unique_name

REPEATED = [
    '{"PhoneNumber": "1", "PhoneNumber": "2"}',
    '{"PhoneNumber": "1", "\\u0050honeNumber": "2"}',
    '{"PhoneNumber": "a:b", "PhoneNumber": "2"}',
    '{"Delivery": {"PostalCode": "1", "PostalCode": "2"}}',
    '{"Delivery": {"PostalCode": "1"}, "Delivery": {"PostalCode": "1"}}',
    '{"Delivery": null, "Delivery": {"PostalCode": "1", "AddressLine1": "::"}}',
]


@pytest.mark.parametrize("body", REPEATED)
def test_a_repeated_key_is_refused(api, body):
    answer = api.patch("/customer/1", data=body, headers={"Content-Type": "application/json"})
    problem = assert_problem(answer, 422, "invalid-body")
    assert {error["detail"] for error in problem["errors"]} == {"is given twice"}


def test_colons_in_values_are_no_keys(api):
    name = unique_name()
    url = "https://www.example.com:8080/a:b"
    made = api.new_customer(
        name, WebsiteURL=url, Delivery={"AddressLine1": "a: b", "PostalCode": 1}
    )
    assert made["WebsiteURL"] == url
    assert made["Delivery"] == {"AddressLine1": "a: b", "PostalCode": "1"}
