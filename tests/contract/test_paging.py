"""The customers' list by pages: by key, so that a page costs the same wherever it is."""

import re
from urllib.parse import urlsplit

import pytest
import requests

from testkit.api_client import assert_problem, unique_name

MARK = "Page "


def following(response):
    """The path of the next page, as the Link header has it; None at the end."""
    link = response.headers.get("Link")
    if link is None:
        return None
    url = urlsplit(re.fullmatch(r'<(.*)>; rel="next"', link)[1])
    return f"{url.path}?{url.query}"


def pages(api, path):
    while path is not None:
        response = api.get(path)
        assert response.status_code == 200, response.text
        yield response.json()
        path = following(response)


@pytest.fixture(scope="module")
def named(server):
    """Customers of one mark, their names in an order that is not that of their numbers."""
    from testkit.api_client import Api

    mark = unique_name(MARK)
    with Api(server.url) as api:
        made = [
            api.new_customer(f"{mark} {letter}", Delivery={"PostalCode": letter})
            for letter in "DAECBFG"
        ]
        yield mark, made
        for customer in made:
            api.delete(f"/customer/{customer['CustomerID']}")


@pytest.mark.parametrize("sort", ["CustomerID", "-CustomerID", "CustomerName", "-CustomerName"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_make_up_the_whole_in_order_and_nothing_twice(api, named, sort, limit):
    mark, made = named
    found = [*pages(api, f"/customers?name={mark}&sort={sort}&limit={limit}")]
    assert all(len(page) <= limit for page in found)
    wanted = sorted(made, key=lambda c: c[sort.lstrip("-")], reverse=sort.startswith("-"))
    wanted = [{k: c[k] for k in ("CustomerID", "CustomerName")} for c in wanted]
    assert [customer for page in found for customer in page] == wanted


def test_a_row_that_goes_between_two_pages_takes_no_other_with_it(api):
    mark = unique_name(MARK)
    made = [api.new_customer(f"{mark} {n}")["CustomerID"] for n in range(4)]
    first = api.get(f"/customers?name={mark}&limit=2")
    api.delete(f"/customer/{made[1]}")
    rest = [c["CustomerID"] for page in pages(api, following(first)) for c in page]
    assert rest == made[2:]


def test_fields_are_picked_and_keep_their_order(api, named):
    mark, _ = named
    response = api.get(f"/customers?name={mark}&fields=Delivery,CustomerName&limit=1")
    [customer] = response.json()
    assert list(customer) == ["CustomerName", "Delivery"]
    assert list(customer["Delivery"]) == ["PostalCode"]


def test_a_wildcard_in_a_name_stands_for_itself(api):
    mark = unique_name(MARK)
    for name in (f"{mark} 100%", f"{mark} 1000", f"{mark} a_b", f"{mark} aXb", f"{mark} [x]"):
        api.new_customer(name)
    for part in ("100%", "a_b", "[x]"):
        found = api.get("/customers", params={"name": f"{mark} {part}"}).json()
        assert [c["CustomerName"] for c in found] == [f"{mark} {part}"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("sort=PhoneNumber", "sort"),
        ("fields=CustomerID,Nothing", "fields"),
        ("after=;drop", "after"),
        ("pages=2", "pages"),
    ],
)
def test_a_query_that_is_none_is_refused(api, query, parameter):
    assert_problem(api.get(f"/customers?{query}"), 400, "invalid-query", parameters={parameter})


def test_a_list_is_given_by_commas_or_by_a_repeated_parameter_also_on_the_next_page(api):
    repeated = "/customers?limit=2&fields=CustomerID&fields=PhoneNumber"
    page = api.get(repeated)
    assert page.json() == api.get("/customers?limit=2&fields=CustomerID,PhoneNumber").json()
    following = requests.get(page.links["next"]["url"], timeout=30).json()
    assert [set(row) for row in following] == [{"CustomerID", "PhoneNumber"}] * 2
