"""One customer through its life, in the samples' words and in application/json."""

import json

import pytest

from testkit.api_client import assert_problem, one, unique_name

TAILSPIN = (
    '[{"CustomerID":123,"CustomerName":"Tailspin Toys (Roe Park, NY)",'
    '"PhoneNumber":"(212) 555-0100","FaxNumber":"(212) 555-0101",'
    '"WebsiteURL":"http://www.tailspintoys.com/RoePark","Delivery":{"AddressLine1":"Shop 219",'
    '"AddressLine2":"528 Persson Road","PostalCode":"90775"}}]'
)
KEYS = ["CustomerID", "CustomerName", "PhoneNumber", "FaxNumber", "WebsiteURL", "Delivery"]
WHOLE = {
    "PhoneNumber": "123-234-5678",
    "FaxNumber": "123-234-5679",
    "WebsiteURL": "http://www.something.com",
    "Delivery": {"AddressLine1": "One Microsoft Way", "AddressLine2": "B1", "PostalCode": "98052"},
}


def as_json(document):
    return {"json": document}


def as_form(document):
    return {"data": {"customer": json.dumps(document)}}


def as_multipart(document):
    return {"files": {"customer": (None, json.dumps(document))}}


@pytest.fixture(params=[as_json, as_form, as_multipart])
def sent(request):
    """The ways to send a body: each makes the options of a request from a document."""
    return request.param


@pytest.fixture
def customer(api):
    """A customer with every key set."""
    return api.new_customer(**WHOLE)


def path_of(customer):
    return f"/customer/{customer['CustomerID']}"


def test_customer_123_is_the_one_of_the_readme_byte_for_byte(api):
    response = api.get("/customer/123")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.text == TAILSPIN


def test_the_samples_put_makes_the_row_and_answers_it(api):
    name = unique_name("John Doe ")
    document = (
        '{"CustomerName": "%s", "PhoneNumber": "123-234-5678", "FaxNumber": "123-234-5678",'
        ' "WebsiteURL": "http://www.something.com",'
        ' "Delivery": { "AddressLine1": "One Microsoft Way", "PostalCode": 98052 }}'
    )
    response = api.put("/customer", data={"customer": document % name})
    assert response.status_code == 201
    made = one(response)
    assert response.text == (
        f'[{{"CustomerID":{made["CustomerID"]},"CustomerName":"{name}",'
        '"PhoneNumber":"123-234-5678","FaxNumber":"123-234-5678",'
        '"WebsiteURL":"http://www.something.com",'
        '"Delivery":{"AddressLine1":"One Microsoft Way","PostalCode":"98052"}}]'
    )


def test_every_kind_of_body_makes_a_customer_with_all_its_keys(api, sent):
    name = unique_name()
    response = api.put("/customer", **sent({"CustomerName": name, **WHOLE}))
    assert response.status_code == 201
    made = one(response)
    assert list(made) == KEYS
    assert list(made["Delivery"]) == ["AddressLine1", "AddressLine2", "PostalCode"]
    assert made == {"CustomerID": made["CustomerID"], "CustomerName": name, **WHOLE}
    assert api.get(path_of(made)).text == response.text


def test_the_order_of_the_keys_that_came_in_is_nothing_to_the_answer(api):
    document = {"CustomerName": unique_name(), **WHOLE}
    backwards = dict(reversed(document.items()))
    assert list(one(api.put("/customer", json=backwards))) == KEYS


def test_location_leads_to_the_new_customer(api):
    response = api.put("/customer", json={"CustomerName": unique_name()})
    location = response.headers["Location"].removeprefix(api.url)
    assert location == path_of(one(response))
    assert api.get(location).text == response.text


def test_keys_without_a_value_are_left_out_and_so_is_an_empty_delivery(api):
    name = unique_name()
    made = api.new_customer(name, FaxNumber=None, Delivery={"AddressLine1": None})
    assert list(made.items()) == [("CustomerID", made["CustomerID"]), ("CustomerName", name)]


def test_numbers_count_up(api):
    first, second = api.new_customer(), api.new_customer()
    assert 1061 < first["CustomerID"] < second["CustomerID"]


@pytest.mark.parametrize("code", [98052, "98052", "CB2 1TN"])
def test_a_postal_code_is_a_number_or_text_and_is_answered_as_text(api, code):
    made = api.new_customer(Delivery={"PostalCode": code})
    assert made["Delivery"] == {"PostalCode": str(code)}


def test_a_name_that_exists_is_a_conflict_and_changes_nothing(api, customer):
    name = customer["CustomerName"]
    assert_problem(api.put("/customer", json={"CustomerName": name}), 409, "conflict")
    other = api.new_customer()
    assert_problem(api.patch(path_of(other), json={"CustomerName": name}), 409, "conflict")
    assert one(api.get(path_of(other))) == other


def test_patch_changes_the_keys_it_names_and_leaves_the_others(api, sent, customer):
    change = {"PhoneNumber": "1", "Delivery": {"AddressLine2": "B2"}}
    response = api.patch(path_of(customer), **sent(change))
    assert response.status_code == 200
    delivery = {**customer["Delivery"], "AddressLine2": "B2"}
    assert one(response) == {**customer, "PhoneNumber": "1", "Delivery": delivery}
    assert api.get(path_of(customer)).text == response.text


def test_patch_clears_a_key_given_as_null(api, customer):
    change = {"FaxNumber": None, "WebsiteURL": None, "Delivery": {"AddressLine2": None}}
    patched = one(api.patch(path_of(customer), json=change))
    assert list(patched) == ["CustomerID", "CustomerName", "PhoneNumber", "Delivery"]
    assert patched["Delivery"] == {"AddressLine1": "One Microsoft Way", "PostalCode": "98052"}


def test_patch_with_delivery_null_clears_all_of_it(api, customer):
    patched = one(api.patch(path_of(customer), json={"Delivery": None}))
    assert list(patched) == KEYS[:-1]


def test_patch_of_nothing_changes_nothing(api, customer):
    assert one(api.patch(path_of(customer), json={})) == customer


def test_patch_can_not_take_the_name_away(api, customer):
    response = api.patch(path_of(customer), json={"CustomerName": None})
    assert_problem(response, 422, "invalid-body", pointers={"/CustomerName"})


def test_put_on_a_number_replaces_the_whole_customer(api, sent, customer):
    name = unique_name()
    response = api.put(path_of(customer), **sent({"CustomerName": name, "FaxNumber": "7"}))
    assert response.status_code == 200
    number = customer["CustomerID"]
    assert one(response) == {"CustomerID": number, "CustomerName": name, "FaxNumber": "7"}
    assert api.get(path_of(customer)).text == response.text


def test_what_was_read_can_be_put_back(api, customer):
    assert one(api.put(path_of(customer), json=customer)) == customer


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_the_number_in_a_body_must_be_that_of_the_path(api, method, customer):
    body = {"CustomerID": 123, "CustomerName": unique_name()}
    response = api.request(method, path_of(customer), json=body)
    assert_problem(response, 422, "invalid-body", pointers={"/CustomerID"})
    assert api.get("/customer/123").text == TAILSPIN


def test_a_deleted_customer_is_gone(api, customer):
    response = api.delete(path_of(customer))
    assert response.status_code == 200
    assert response.text == f'[{{"CustomerID":{customer["CustomerID"]}}}]'
    assert_problem(api.get(path_of(customer)), 404, "not-found")
    assert api.named(customer["CustomerName"]) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "number", ["0", "-1", "2147483647", "2147483648", str(10**30), "abc", "1.5", "%00", "1;DROP"]
)
def test_a_number_that_no_customer_has_is_not_found(api, method, number):
    body = {} if method in ("GET", "DELETE") else {"json": {"CustomerName": unique_name()}}
    response = api.request(method, f"/customer/{number}", **body)
    assert response.status_code in (400, 404)
    assert_problem(response, response.status_code)


def test_head_is_get_without_the_body(api):
    got, head = api.get("/customer/123"), api.head("/customer/123")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["ETag"] == got.headers["ETag"]
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


def test_the_list_holds_every_customer_in_the_order_of_their_numbers(api):
    made = api.new_customer()
    listed = api.get("/customers").json()
    assert all(list(item) == ["CustomerID", "CustomerName"] for item in listed)
    numbers = [item["CustomerID"] for item in listed]
    assert numbers == sorted(set(numbers))
    assert {1, 123, 1061, made["CustomerID"]} <= set(numbers)
    assert {k: made[k] for k in ("CustomerID", "CustomerName")} in listed


def test_the_list_begins_with_as_many_as_asked_for(api):
    listed = api.get("/customers", params={"limit": 3}).json()
    assert [item["CustomerID"] for item in listed] == [1, 2, 3]
