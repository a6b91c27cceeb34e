"""One deadline per request, which the header Request-Timeout can only shorten."""

import pytest

from testkit.api_client import assert_problem, unique_name


@pytest.mark.parametrize("seconds", ["5", "0.5", "1e9"])
def test_a_request_that_is_done_in_time_is_answered(api, seconds):
    response = api.get("/customer/123", headers={"Request-Timeout": seconds})
    assert response.status_code == 200


def test_a_deadline_that_has_passed_is_told_as_such(api):
    response = api.get("/customer/123", headers={"Request-Timeout": "0.000001"})
    assert_problem(response, 504, "deadline")


def test_a_statement_that_overruns_its_deadline_is_cancelled_and_the_server_goes_on(api):
    for _ in range(20):
        # A statement that is done before its cancel goes out is answered, however late.
        response = api.get(
            "/taxidata", params={"limit": 2000}, headers={"Request-Timeout": "0.002"}
        )
        if response.status_code != 200:
            break
    assert_problem(response, 504, "deadline")
    assert api.get("/customer/123").status_code == 200


def test_a_write_past_its_deadline_is_not_done(api):
    name = unique_name()
    headers = {"Request-Timeout": "0.000001"}
    assert_problem(api.put("/customer", json={"CustomerName": name}, headers=headers), 504)
    assert api.named(name) == []


@pytest.mark.parametrize("seconds", ["soon", "", "0", "-1", "nan", "inf", "1,5"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(api, seconds):
    response = api.get("/customer/123", headers={"Request-Timeout": seconds})
    assert_problem(response, 400, "invalid-header")
