"""Procedures that know nothing of the API are served alike on every engine, over real HTTP.

Values are compared, not spelling: engines print blanks, zeros and offsets of their own.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import uuid
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from testkit.api_client import Api, assert_problem, one, unique_name


def exact(response) -> list:
    """The rows of a 200 with numbers as Decimal."""
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_float=Decimal, parse_int=Decimal)


def marks(api: Api, label: str) -> int:
    return len(api.get("/marks", params={"label": label}).json())


@pytest.fixture
def order(api: Api) -> dict:
    response = api.post("/order", json={"customer": unique_name(), "amount": 12.5})
    assert response.status_code == 201, response.text
    return one(response)


# Verbs and routes


def test_a_created_row_is_answered_with_its_location(api):
    response = api.post("/order", json={"customer": "Ada", "amount": 19.99, "note": "soon"})
    assert response.status_code == 201
    (row,) = json.loads(response.text, parse_float=Decimal)
    assert response.headers["Location"] == f"/order/{row['order_id']}"
    assert (row["customer"], row["amount"], row["note"]) == ("Ada", Decimal("19.99"), "soon")
    assert api.get(response.headers["Location"]).status_code == 200
    assert api.put("/order", json={"customer": "Ada", "amount": 1}).status_code == 201


def test_an_item_is_read_by_the_key_in_its_path(api, order):
    found = one(api.get(f"/order/{order['order_id']}"))
    assert found["customer"] == order["customer"]
    assert found["approved"] is False
    assert_problem(api.get("/order/2147483647"), 404, "not-found")


def test_a_list_takes_its_filters_from_the_query(api, order):
    rows = api.get("/orders", params={"customer": order["customer"]}).json()
    assert [row["order_id"] for row in rows] == [order["order_id"]]
    rows = api.get("/orders", params={"customer": order["customer"], "after": order["order_id"]})
    assert rows.json() == []


def test_an_item_is_replaced_updated_and_deleted(api, order):
    path = f"/order/{order['order_id']}"
    replaced = one(api.put(path, json={"customer": "Eve", "amount": 3}))
    assert (replaced["customer"], replaced["amount"]) == ("Eve", 3)
    assert one(api.patch(path, json={"amount": 4.25}))["amount"] == 4.25
    assert one(api.delete(path)) == {"order_id": order["order_id"]}
    for request in (
        lambda: api.put(path, json={"customer": "Eve", "amount": 3}),
        lambda: api.patch(path, json={"amount": 4}),
        lambda: api.delete(path),
        lambda: api.get(path),
    ):
        assert_problem(request(), 404, "not-found")


def test_another_verb_is_a_post_below_the_item_and_answers_204_without_rows(api, order):
    response = api.post(f"/order/{order['order_id']}/approve")
    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Type" not in response.headers
    assert one(api.get(f"/order/{order['order_id']}"))["approved"] is True


def test_a_name_without_an_underscore_is_a_post(api):
    assert api.post("/recalculate").status_code == 204


def test_a_route_line_in_the_description_wins_over_the_name(api):
    assert api.get("/orders/3/lines").json() == [{"line": 1}, {"line": 2}, {"line": 3}]
    assert_problem(api.get("/lines_of"), 404)


def test_a_private_procedure_has_no_route(api):
    assert_problem(api.get("/hidden"), 404)


def test_a_readonly_post_keeps_no_key(api):
    for _ in range(2):
        response = api.post(
            "/price/calculate", json={"amount": 100}, headers={"Idempotency-Key": "p"}
        )
        assert exact(response) == [{"price": Decimal("119.00")}]
        assert "Idempotency-Replayed" not in response.headers
    assert exact(api.post("/price/calculate", json={"amount": 100, "tax": 7})) == [
        {"price": Decimal(107)}
    ]


def test_head_and_options_and_other_methods_follow_the_catalog(api, order):
    path = f"/order/{order['order_id']}"
    head = api.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) > 10
    allowed = {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"}
    options = api.options(path)
    assert options.status_code == 200
    assert set(options.headers["Allow"].split(", ")) == allowed
    refused = api.post(path)
    assert_problem(refused, 405)
    assert set(refused.headers["Allow"].split(", ")) == allowed


# Values


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [(0, 0, 0), (32767, 2**31 - 1, 2**63 - 1), (-32768, -(2**31), -(2**63))],
)
def test_integers_keep_their_extremes(api, a, b, c):
    assert api.get("/integers", params={"a": a, "b": b, "c": c}).json() == [
        {"a": a, "b": b, "c": c}
    ]


def test_an_integer_beyond_its_type_is_refused_with_every_other_fault(api):
    response = api.get("/integers", params={"a": 32768, "b": "x", "d": 1})
    body = assert_problem(response, 400, parameters={"a", "b", "c", "d"})
    assert {e["parameter"]: e["detail"] for e in body["errors"]}["c"] == "c is required."


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("0.0001", "0.0000000001"),
        ("99999999999999.9999", "9999999999999999999999999999.9999999999"),
        ("-99999999999999.9999", "-1234567890123456789012345678.0123456789"),
    ],
)
def test_decimals_are_exact_to_the_last_digit(api, a, b):
    (row,) = exact(api.get("/decimals", params={"a": a, "b": b}))
    assert (row["a"], row["b"]) == (Decimal(a), Decimal(b))


def test_money_is_exact(api):
    assert exact(api.get("/money?a=922337203685477.5807")) == [
        {"a": Decimal("922337203685477.5807")}
    ]


def test_floats_keep_their_doubles(api):
    (row,) = api.get("/floats", params={"a": "0.1", "b": "1.5"}).json()
    assert row == {"a": 0.1, "b": 1.5}
    (row,) = api.get("/floats", params={"a": "1.7976931348623157e308", "b": "-2"}).json()
    assert row == {"a": 1.7976931348623157e308, "b": -2}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("0", False), ("True", True)])
def test_booleans(api, text, value):
    assert api.get("/flag", params={"a": text}).json() == [{"a": value}]


@pytest.mark.parametrize(
    "text",
    ["", "it's", 'say "hi"', "100 %", "a+b&c=d", "Žluťoučký kůň", "🐎 中文", "; DROP --", "{?}"],
)
def test_text_of_any_characters_comes_back(api, text):
    assert api.get("/texts", params={"a": text, "b": text * 3}).json() == [
        {"a": text, "b": text * 3}
    ]


def test_text_beyond_its_length_is_refused_not_cut(api, can):
    response = api.get("/texts", params={"a": "x" * 21})
    if can.parameter_lengths:
        assert_problem(response, 400, parameters={"a"})
    else:
        assert response.json()[0]["a"] == "x" * 21
    long = api.post("/order", json={"customer": "x" * 41, "amount": 1})
    assert_problem(long, 400 if can.parameter_lengths else 422)


def test_a_megabyte_of_text_comes_back(api):
    text = "é" * 500_000
    body = json.dumps({"a": text}, ensure_ascii=False).encode()
    row = one(api.post("/long/echo", data=body, headers={"Content-Type": "application/json"}))
    assert (row["length"], row["a"] == text) == (500_000, True)


@pytest.mark.parametrize("day", ["0001-01-01", "1752-12-31", "2024-02-29", "9999-12-31"])
def test_dates_keep_the_whole_calendar(api, day):
    assert api.get("/day", params={"a": day}).json() == [{"a": day}]


@pytest.mark.parametrize("day", ["0000-01-01", "10000-01-01", "2023-02-29", "31.12.2026", "-1-1-1"])
def test_dates_outside_the_calendar_are_refused(api, day):
    assert_problem(api.get("/day", params={"a": day}), 400, parameters={"a"})


def test_dates_that_datetime_can_not_hold_are_refused(api, can):
    assert api.get("/datetime?a=9999-12-31T23:59:59").status_code == 200
    assert_problem(api.get("/datetime?a=10000-01-01T00:00:00"), 400, parameters={"a"})
    before = api.get("/datetime?a=1752-12-31T23:59:59")
    if can.dates_before_1753:
        assert before.json()[0]["a"].startswith("1752-12-31T23:59:59")
    else:
        assert_problem(before, 400, parameters={"a"})


@pytest.mark.parametrize("text", ["2026-01-31T13:45:00.123", "2026-01-31 13:45:00.123"])
def test_a_timestamp_may_have_a_blank_for_its_t(api, text):
    found = api.get("/datetime", params={"a": text}).json()[0]["a"]
    assert datetime.fromisoformat(found.replace(" ", "T")[:23].ljust(23, "0")) == datetime(
        2026, 1, 31, 13, 45, 0, 123000
    )


def test_a_moment_is_the_same_instant_whatever_its_offset(api):
    found = api.get("/moment", params={"a": "2026-01-31T13:45:00+05:30"}).json()[0]["a"]
    expected = datetime.fromisoformat("2026-01-31T13:45:00+05:30")
    assert datetime.fromisoformat(found.replace(" +", "+")) == expected


def test_a_time_comes_back(api):
    found = api.get("/clock?a=23:59:58.5").json()[0]["a"]
    assert found.rstrip("0") == "23:59:58.5"


def test_a_uuid_comes_back_in_any_case(api):
    value = uuid.uuid4()
    found = api.get("/guid", params={"a": str(value).upper()}).json()[0]["a"]
    assert uuid.UUID(found) == value
    assert_problem(api.get("/guid?a=xyz"), 400, parameters={"a"})


@pytest.mark.parametrize("data", [b"", b"\x00\xff\n", bytes(range(256)) * 8])
def test_binary_values_are_base64(api, data):
    found = api.get("/bytes", params={"a": base64.b64encode(data).decode()}).json()[0]["a"]
    assert base64.b64decode(found) == data


def test_what_is_left_out_is_the_databases_own_default(api):
    assert exact(api.get("/defaults")) == [
        {"a": 7, "b": "it's", "c": Decimal("-1.50"), "d": "2026-01-31", "e": True, "f": None}
    ]
    assert exact(api.get("/defaults?f=3&b="))[0] | {"c": 0} == {
        **{"a": 7, "b": "", "c": 0, "d": "2026-01-31", "e": True, "f": 3}
    }


def test_null_is_a_value_unlike_a_member_left_out(api):
    assert api.post("/values/echo", json={"a": None, "b": None}).json() == [{"a": None, "b": None}]
    body = assert_problem(api.post("/values/echo", json={"a": 1}), 400, pointers={"/b"})
    assert body["errors"][0]["detail"] == "b is required."


def test_a_body_s_faults_come_together_and_before_the_database(api):
    response = api.post("/order", json={"customer": 7, "amount": "x", "nots": 1})
    body = assert_problem(response, 400, pointers={"/customer", "/amount", "/nots"})
    assert "note is known" in json.dumps(body)


def test_names_may_be_in_any_script(api):
    assert api.get("/größe/5").json() == [{"größe": 5, "中文": "Žluťoučký 🐎"}]


def test_names_may_be_reserved_words(api):
    assert api.get("/group?select=1&order=by").json() == [{"select": 1, "order": "by", "from": 1}]


def test_arrays_and_tables_take_json_arrays(api, can):
    numbers = [1, None, 2_000_000_000, 2_000_000_000]
    given = [{"n": n} for n in numbers] if can.table_types else numbers
    response = api.post("/numbers/sum", json={"numbers": given})
    assert response.status_code == 200, response.text
    row = one(response)
    assert row == {"total": 4_000_000_001, "items": 3}
    wrong = [{"m": 1}] if can.table_types else [1, "x"]
    assert_problem(api.post("/numbers/sum", json={"numbers": wrong}), 400, pointers={"/numbers"})


# Shapes


def test_no_rows_are_an_empty_array(api):
    for text in ("json", "ndjson"):
        response = api.get("/nothing", params={"format": text})
        assert response.status_code == 200
        assert response.text == ("[]" if text == "json" else "")


def test_nulls_of_every_type_are_null(api):
    assert api.get("/nulls").json() == [dict.fromkeys("ntdbm")]
    assert api.get("/nulls?format=csv").text.split() == ["n,t,d,b,m", ",,,,"]


@pytest.mark.parametrize("rows", [1, 199, 200, 201, 400, 1000])
def test_a_list_has_all_its_rows_in_every_format(api, rows):
    path = f"/numbers?upto={rows}"
    found = api.get(path).json()
    assert [row["n"] for row in found] == [*range(1, rows + 1)]
    assert found[0] == {"n": 1, "half": 0.5, "name": "number 1", "made": "2026-01-02"}
    lines = api.get(path, headers={"Accept": "application/x-ndjson"}).text.splitlines()
    assert [json.loads(line) for line in lines] == found
    table = [*csv.DictReader(io.StringIO(api.get(path + "&format=csv").text))]
    assert [int(row["n"]) for row in table] == [row["n"] for row in found]
    assert table[0] | {"half": float(table[0]["half"])} == found[0] | {"n": "1"}
    arrow = pa.ipc.open_stream(api.get(path + "&format=arrow").content).read_all().to_pylist()
    assert [row["n"] for row in arrow] == [row["n"] for row in found]
    assert (float(arrow[0]["half"]), arrow[0]["name"]) == (0.5, "number 1")


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_what_a_list_writes_is_kept(api, rows):
    label = unique_name()
    assert len(api.get("/watched", params={"label": label, "upto": rows}).json()) == rows
    assert marks(api, label) == 1


def test_a_short_list_has_a_length_and_a_long_one_is_streamed(api):
    assert "Content-Length" in api.get("/numbers?upto=10").headers
    assert api.get("/numbers?upto=5000").headers["Transfer-Encoding"] == "chunked"


def test_an_unknown_format_and_one_that_an_item_lacks_are_refused(api):
    assert_problem(api.get("/numbers?upto=1&format=xml"), 400, parameters={"format"})
    assert_problem(api.get("/document/1?format=csv"), 406)
    assert_problem(api.get("/document/1", headers={"Accept": "text/csv"}), 406)


def test_a_composite_and_a_scalar_are_rows(api):
    assert api.get("/pair").json() == [{"first": 1, "second": "two"}]
    assert api.get("/answer").json() == [{"list_answer": 42}]


def test_several_result_sets_have_a_place_each(api, can):
    results = api.get("/sets").json()["results"]
    assert results[0] == [{"a": 1}, {"a": 2}]
    assert results[1:] == ([[{"b": "x", "c": 2}], []] if can.several_result_sets else [])


def test_outputs_stand_beside_the_rows(api, can):
    assert api.post("/total/compute", json={"a": 2, "b": 3}).json() == {
        "items": [],
        "outputs": {"total": 5},
    }
    found = api.get("/summary?upto=2")
    if can.rows_with_outputs:
        assert found.json() == {"items": [{"n": 1}, {"n": 2}], "outputs": {"rows_found": 2}}
    else:
        assert_problem(found, 404)


def test_outputs_named_status_code_and_etag_go_to_http(api):
    response = api.post("/order/5/submit")
    assert (response.status_code, response.content) == (202, b"")
    assert response.headers["ETag"] == '"e5"'
    assert_problem(api.post("/status/choose", json={"statuscode_wanted": 409}), 409)
    assert_problem(api.post("/status/choose", json={"statuscode_wanted": 1000}), 500, "internal")


def test_an_output_that_is_the_key_makes_a_location(api):
    response = api.post("/label", json={"label": unique_name()})
    assert response.status_code == 201
    assert response.headers["Location"] == "/label/7"


def test_temporary_tables_and_dynamic_sql_are_served(api, order):
    assert api.get("/temporary?n=4").json() == [{"square": n * n} for n in (1, 2, 3, 4)]
    rows = api.get("/sorted-orders", params={"sort": "amount", "customer": order["customer"]})
    assert rows.json() == [{"customer": order["customer"], "amount": 12.5}]


def test_json_text_passes_through_with_its_etag(api):
    response = api.get("/document/3")
    assert json.loads(response.text, parse_float=Decimal) == {
        "id": 3,
        "deep": {"list": [1, Decimal("2.50"), None]},
    }
    assert "2.50" in response.text
    assert response.headers["ETag"] == '"v3"'
    again = api.get("/document/3", headers={"If-None-Match": '"v3"'})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/broken_document", "/wrong_document"])
def test_a_document_that_is_not_json_is_a_500_and_a_line_in_the_log(api, server, path):
    body = assert_problem(api.get(path), 500, "internal")
    assert body["instance"].startswith("urn:uuid:")
    text = server.log.read_text()
    assert f"shop.list{path.replace('/', '_')} of SHOP: The column Json is not" in text


def test_a_document_takes_the_body_whole(api):
    document = {"label": "x", "n": [1, {"deep": None}], "d": 1.10}
    assert api.post("/document/echo", json=document).json() == document


def test_columns_that_no_object_can_have_are_a_500(api, can):
    for path in ("/twins", "/nameless"):
        response = api.get(path)
        assert_problem(response, 500 if can.several_result_sets else 404)


def test_overloads_have_no_route(api, can):
    assert_problem(api.get("/over?a=1"), 404)


# Failures


@pytest.mark.parametrize(
    ("name", "more", "status"),
    [
        ("plainly", {}, 422),
        ("oldly", {}, 422),
        ("chosen", {"status": 409}, 409),
        ("chosen", {"status": 503}, 503),
        ("division", {}, 500),
        ("twice", {}, 409),
        ("table", {}, 500),
        ("procedure", {}, 500),
    ],
)
def test_a_failed_write_is_undone_and_may_be_repeated_with_its_key(api, name, more, status):
    label = unique_name()
    for _ in range(2):
        response = api.post(
            f"/{name}/fail", json={"label": label, **more}, headers={"Idempotency-Key": label}
        )
        body = assert_problem(response, status)
        assert "secret" not in response.text
        assert "Idempotency-Replayed" not in response.headers
        if name == "chosen":
            assert body["detail"] == "The order is closed."
    assert marks(api, label) == 0


def test_a_refused_value_is_a_conflict_or_unprocessable(api):
    label = unique_name()
    response = api.post("/check/fail", json={"label": label})
    assert response.status_code in (409, 422)
    assert marks(api, label) == 0


def test_an_error_after_rows_is_no_success(api):
    assert_problem(api.get("/failing?upto=3"), 422)


def test_an_error_after_many_rows_breaks_the_answer_off_or_is_a_problem(api):
    try:
        response = api.get("/failing?upto=5000")
    except Exception as broken:
        assert type(broken).__name__ in ("ChunkedEncodingError", "ConnectionError")
    else:
        assert_problem(response, 422)


@pytest.mark.parametrize("verb", ["commit", "rollback"])
def test_a_procedure_that_ends_the_transaction_is_a_500_with_a_remedy_in_the_log(api, server, verb):
    label = unique_name()
    assert_problem(api.post(f"/inside/{verb}", json={"label": label}), 500, "internal")
    assert marks(api, label) == 0 or verb == "commit"
    assert (
        f"shop.{verb}_inside of SHOP ended or broke the API's transaction" in server.log.read_text()
    )


def test_a_nontransactional_procedure_commits_as_it_likes(api):
    label = unique_name()
    assert api.post("/marks/archive", json={"label": label, "times": 3}).status_code == 204
    assert marks(api, label) == 3
    response = api.post("/partly/archive", json={"label": label})
    assert_problem(response, 422)
    assert marks(api, label) == 4


def test_a_nontransactional_procedure_refuses_a_key_and_says_why(api):
    label = unique_name()
    response = api.post(
        "/marks/archive", json={"label": label, "times": 1}, headers={"Idempotency-Key": label}
    )
    body = assert_problem(response, 400, "invalid-header")
    assert "@nontransactional" in body["detail"]
    assert marks(api, label) == 0


# Once


def test_a_repeated_key_gives_the_first_response_and_writes_once(api):
    customer = unique_name()
    send = {
        "json": {"customer": customer, "amount": 1.25},
        "headers": {"Idempotency-Key": customer},
    }
    first, second = api.post("/order", **send), api.post("/order", **send)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert first.headers["Location"] == second.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len(api.get("/orders", params={"customer": customer}).json()) == 1


def test_a_key_is_of_one_request_only(api):
    key = {"Idempotency-Key": unique_name()}
    label = unique_name()
    assert api.post("/mark", json={"label": label}, headers=key).status_code == 201
    assert_problem(api.post("/mark", json={"label": label + "x"}, headers=key), 422)
    assert_problem(api.put("/mark", json={"label": label}, headers=key), 422)
    assert marks(api, label) == 1
    assert marks(api, label + "x") == 0


def test_the_answer_to_a_repeated_404_is_repeated(api):
    key = {"Idempotency-Key": unique_name()}
    first = api.patch("/order/2147483647", json={"amount": 1}, headers=key)
    second = api.patch("/order/2147483647", json={"amount": 1}, headers=key)
    assert_problem(first, 404)
    assert (second.status_code, second.content) == (404, first.content)
    assert second.headers["Idempotency-Replayed"] == "true"


def test_a_get_keeps_no_key(api, order):
    path, key = f"/order/{order['order_id']}", {"Idempotency-Key": unique_name()}
    assert api.get(path, headers=key).status_code == 200
    assert api.head(path, headers=key).status_code == 200
    response = api.patch(path, json={"amount": 2}, headers=key)
    assert response.status_code == 200
    assert "Idempotency-Replayed" not in response.headers
