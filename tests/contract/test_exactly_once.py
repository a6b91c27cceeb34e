"""A write is done once for its Idempotency-Key, however often and however simultaneously asked."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from testkit.api_client import Api, assert_problem, one, unique_name

REPLAYED = "Idempotency-Replayed"


@pytest.fixture
def key():
    return {"Idempotency-Key": uuid.uuid4().hex}


@pytest.fixture
def customer(api):
    return api.new_customer(PhoneNumber="1", FaxNumber="1")


def path_of(customer):
    return f"/customer/{customer['CustomerID']}"


def same(first, again):
    """`again` is the stored answer of `first`, and says so."""
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == "true"
    assert (again.status_code, again.text) == (first.status_code, first.text)
    for name in ("ETag", "Location"):
        assert again.headers.get(name) == first.headers.get(name)


def test_a_create_asked_again_is_answered_again_and_makes_one_row(api, key):
    body = {"CustomerName": unique_name()}
    first = api.put("/customer", json=body, headers=key)
    assert first.status_code == 201
    same(first, api.put("/customer", json=body, headers=key))
    assert len(api.named(body["CustomerName"])) == 1


def test_the_stored_answer_is_the_first_one_even_when_the_row_has_changed_since(api, key):
    body = {"CustomerName": unique_name()}
    first = api.put("/customer", json=body, headers=key)
    api.patch(path_of(one(first)), json={"PhoneNumber": "2"})
    same(first, api.put("/customer", json=body, headers=key))
    assert one(api.get(path_of(one(first))))["PhoneNumber"] == "2"


def test_a_patch_asked_again_does_not_undo_what_came_between(api, key, customer):
    first = api.patch(path_of(customer), json={"PhoneNumber": "2"}, headers=key)
    api.patch(path_of(customer), json={"PhoneNumber": "3"})
    same(first, api.patch(path_of(customer), json={"PhoneNumber": "2"}, headers=key))
    assert one(api.get(path_of(customer)))["PhoneNumber"] == "3"


def test_a_replacement_asked_again_is_answered_again(api, key, customer):
    body = {"CustomerName": unique_name()}
    first = api.put(path_of(customer), json=body, headers=key)
    same(first, api.put(path_of(customer), json=body, headers=key))


def test_a_delete_asked_again_is_answered_as_the_first_time(api, key, customer):
    first = api.delete(path_of(customer), headers=key)
    assert first.status_code == 200
    same(first, api.delete(path_of(customer), headers=key))
    assert_problem(api.delete(path_of(customer)), 404, "not-found")


def test_the_order_of_keys_and_the_kind_of_body_do_not_make_another_request(api, key):
    name = unique_name()
    first = api.put("/customer", json={"CustomerName": name, "FaxNumber": "1"}, headers=key)
    form = {"customer": f'{{"FaxNumber": "1", "CustomerName": "{name}"}}'}
    same(first, api.put("/customer", data=form, headers=key))


def test_a_key_in_quotes_is_the_same_key(api):
    body, key = {"CustomerName": unique_name()}, uuid.uuid4().hex
    first = api.put("/customer", json=body, headers={"Idempotency-Key": key})
    same(first, api.put("/customer", json=body, headers={"Idempotency-Key": f'"{key}"'}))


def test_keys_differ_by_case(api):
    lower, upper = ({"Idempotency-Key": f"{letter}-{unique_name('')}"} for letter in "aA")
    upper["Idempotency-Key"] = "A" + lower["Idempotency-Key"][1:]
    first = api.put("/customer", json={"CustomerName": unique_name()}, headers=lower)
    second = api.put("/customer", json={"CustomerName": unique_name()}, headers=upper)
    assert (first.status_code, second.status_code) == (201, 201)


def test_a_key_with_another_body_is_refused_and_changes_nothing(api, key):
    name, other = unique_name(), unique_name()
    api.put("/customer", json={"CustomerName": name}, headers=key)
    response = api.put("/customer", json={"CustomerName": other}, headers=key)
    assert "Idempotency-Key" in assert_problem(response, 422)["detail"]
    assert api.named(other) == []


def test_a_key_with_another_route_is_refused_and_changes_nothing(api, key, customer):
    api.patch(path_of(customer), json={"PhoneNumber": "2"}, headers=key)
    assert_problem(api.delete(path_of(customer), headers=key), 422)
    assert api.get(path_of(customer)).status_code == 200


@pytest.mark.parametrize("status", [404, 409])
def test_a_refusal_is_not_stored_so_the_key_serves_the_corrected_state(api, key, status):
    if status == 404:
        missing = {"CustomerID": 2_000_000_000}
        assert_problem(api.delete(path_of(missing), headers=key), 404)
        assert_problem(api.delete(path_of(missing), headers=key), 404)
        return
    name = unique_name()
    obstacle = api.new_customer(name)
    assert_problem(api.put("/customer", json={"CustomerName": name}, headers=key), 409)
    api.delete(path_of(obstacle))
    response = api.put("/customer", json={"CustomerName": name}, headers=key)
    assert response.status_code == 201
    assert REPLAYED not in response.headers


def test_without_a_key_every_request_is_a_request_of_its_own(api, customer):
    first = api.patch(path_of(customer), json={"PhoneNumber": "2"})
    second = api.patch(path_of(customer), json={"PhoneNumber": "2"})
    assert REPLAYED not in first.headers
    assert REPLAYED not in second.headers


@pytest.mark.parametrize("key", ["k" * 256, "", '"', "schlüssel", "a\tb"], ids=ascii)
def test_a_key_that_can_not_be_one_is_refused(api, key):
    headers = {"Idempotency-Key": key.encode("latin-1")}
    response = api.put("/customer", json={"CustomerName": unique_name()}, headers=headers)
    assert_problem(response, 400, "invalid-header")


def test_the_longest_key_is_kept(api):
    headers = {"Idempotency-Key": (uuid.uuid4().hex * 8)[:255]}
    body = {"CustomerName": unique_name()}
    first = api.put("/customer", json=body, headers=headers)
    same(first, api.put("/customer", json=body, headers=headers))


def at_once(server, count, request):
    """The responses of `request(api)` made by `count` clients at the same moment."""
    gate = threading.Barrier(count)

    def run(_):
        with Api(server.url) as api:
            gate.wait()
            return request(api)

    with ThreadPoolExecutor(count) as clients:
        return list(clients.map(run, range(count)))


def test_simultaneous_twins_with_one_key_make_one_row(server, api, key):
    body = {"CustomerName": unique_name()}
    twins = at_once(server, 8, lambda api: api.put("/customer", json=body, headers=key))
    assert {(r.status_code, r.text) for r in twins} == {(201, twins[0].text)}
    assert [r.headers.get(REPLAYED) for r in twins].count("true") == len(twins) - 1
    assert len(api.named(body["CustomerName"])) == 1


def test_simultaneous_twins_without_a_key_make_one_row_and_the_rest_are_conflicts(server, api):
    body = {"CustomerName": unique_name()}
    twins = at_once(server, 8, lambda api: api.put("/customer", json=body))
    assert sorted(r.status_code for r in twins) == [201] + [409] * 7
    assert len(api.named(body["CustomerName"])) == 1
