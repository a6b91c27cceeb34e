"""No update is lost: a strong ETag for what was read, and If-Match checked inside the write."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from testkit.api_client import Api, assert_problem, one, unique_name

CLIENTS, ROUNDS = 6, 5


@pytest.fixture
def path(api):
    return f"/customer/{api.new_customer(PhoneNumber='0')['CustomerID']}"


def test_every_answer_of_a_customer_has_the_strong_tag_of_what_it_shows(api):
    made = api.put("/customer", json={"CustomerName": unique_name()})
    path = f"/customer/{one(made)['CustomerID']}"
    tag = made.headers["ETag"]
    assert tag.startswith('"')
    assert api.get(path).headers["ETag"] == tag
    patched = api.patch(path, json={"PhoneNumber": "1"})
    assert patched.headers["ETag"] != tag
    assert api.get(path).headers["ETag"] == patched.headers["ETag"]
    back = api.patch(path, json={"PhoneNumber": None})
    assert back.headers["ETag"] == tag


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_write_goes_through_with_the_tag_of_what_is_there(api, path, method):
    options = {} if method == "DELETE" else {"json": {"CustomerName": unique_name()}}
    headers = {"If-Match": api.get(path).headers["ETag"]}
    assert api.request(method, path, headers=headers, **options).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_write_with_a_stale_tag_fails_and_changes_nothing(api, path, method):
    options = {} if method == "DELETE" else {"json": {"CustomerName": unique_name()}}
    stale = {"If-Match": api.get(path).headers["ETag"]}
    api.patch(path, json={"PhoneNumber": "1"})
    before = api.get(path).text
    response = api.request(method, path, headers=stale, **options)
    assert_problem(response, 412, "precondition-failed")
    assert api.get(path).text == before


def test_any_version_will_do_for_an_asterisk(api, path):
    response = api.patch(path, json={"PhoneNumber": "1"}, headers={"If-Match": "*"})
    assert response.status_code == 200


@pytest.mark.parametrize("tag", ["unquoted", '"', '"a', "''"])
def test_a_tag_that_can_not_be_read_is_refused(api, path, tag):
    response = api.patch(path, json={"PhoneNumber": "1"}, headers={"If-Match": tag})
    assert_problem(response, 400, "invalid-header")


def test_a_known_key_is_answered_before_the_tag_is_looked_at(api, path):
    headers = {"If-Match": api.get(path).headers["ETag"], "Idempotency-Key": unique_name("")}
    first = api.patch(path, json={"PhoneNumber": "1"}, headers=headers)
    again = api.patch(path, json={"PhoneNumber": "1"}, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.text == first.text


def test_no_increment_is_lost_between_clients_that_read_modify_and_write(server, api, path):
    gate = threading.Barrier(CLIENTS)

    def count(_):
        with Api(server.url) as own:
            gate.wait()
            for _ in range(ROUNDS):
                while True:
                    read = own.get(path)
                    change = {"PhoneNumber": str(int(one(read)["PhoneNumber"]) + 1)}
                    tag = {"If-Match": read.headers["ETag"]}
                    written = own.patch(path, json=change, headers=tag)
                    if written.status_code == 200:
                        break
                    assert_problem(written, 412, "precondition-failed")

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(count, range(CLIENTS)))
    assert one(api.get(path))["PhoneNumber"] == str(CLIENTS * ROUNDS)
