"""Text is data: what a customer is called comes back as it was sent, or is refused with a reason.

Lengths are those of nvarchar(100): UTF-16 code units.
"""

import json
import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from testkit.api_client import Api, assert_problem, one, unique_name
from testkit.engines import reads_escapes

NAMES = {
    "single quote": "O'Brien ' '' '",
    "double quote": 'the "best" "',
    "backslashes": "\\ \\\\ \\n \\u0041 \\",
    "drop table": "'; DROP TABLE sales.customers; --",
    "drop table in brackets": "]; DROP TABLE Sales.Customers; --",
    "drop table in dollars": "$$; DROP TABLE sales.customers; $$",
    "drop table in JSON": '"}; DROP TABLE x; --',
    "comment": "/* a */ -- b",
    "JSON object": '{"CustomerID":1,"_request":{"key":"k"}}',
    "JSON array": '[{"CustomerName":"x"}]',
    "JSON words": "null",
    "end of the answer": '"}]',
    "parameter marks": "? :1 :name @Json $1 %s %(x)s {0}",
    "ODBC escapes": "{call web.get_customer(1)} {d '2019-01-31'} {fn now()}",
    "templates": "$(AppName) ${HOME} $(id) `id` {{7*7}}",
    "LIKE patterns": "100% _ [a-z] ^ \\%",
    "XML": "<b>&amp;</b><!-- --><![CDATA[x]]>",
    "form syntax": "a=b&c=d+e%20f%00;g",
    "emoji": "👍🏽 👩‍👩‍👧‍👦 🇨🇭 ☃️",
    "beyond the basic plane": "\U0001d518\U0001d52b\U0001d526 𠮷野家",
    "right to left": "שלום עולם مرحبا بالعالم",
    "direction marks": "a\u202eb\u202cc\u2066d\u2069\u200f",
    "combining marks": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯ ȧ̈ ñ",
    "composed": "é ﬁ Å",
    "decomposed": "e\u0301 fi A\u030a",
    "casing": "İıßſẞǅ",
    "East Asian": "株式会社 주식회사 \uff21\uff22",
    "leading and trailing blanks": "  both ends  ",
    "other blanks": "\u00a0a\u2003b\u200bc\u3000",
    "tabs and lines": "a\tb\nc\r\nd\u0085e\u2028f",
    "control characters": "\x01\x02\x07\x08\x0b\x0c\x1b[31m\x1f\x7f\x9f",
    "byte order mark": "\ufeffa\ufeff",
    "not characters": "\ufffe\uffff\U0010ffff\ufdd0",
    "replacement": "\ufffd",
    "private use": "\ue000\U000f0000",
}


def readable(text, engine):
    """Whether the engine's own JSON functions can read `text`."""
    return json.dumps(text, ensure_ascii=False) == f'"{text}"' or reads_escapes(engine)


@pytest.fixture
def text(request, engine):
    if not readable(request.param, engine):
        reason = "this engine's JSON functions leave strings escaped"
        request.applymarker(pytest.mark.xfail(reason=reason))
    return request.param


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES, indirect=True)
def test_a_name_comes_back_as_it_was_sent(api, engine, text):
    name = f"{text} {unique_name('')}"
    made = api.new_customer(name)
    assert made["CustomerName"] == name
    assert one(api.get(f"/customer/{made['CustomerID']}"))["CustomerName"] == name
    # A collation may ignore code points that are no characters (Unicode, UTS 10).
    ignored = engine != "postgresql" and any(unicodedata.category(c) == "Cn" for c in text)
    sought = name.rpartition(" ")[2] if ignored else name
    assert api.named(sought) == [{"CustomerID": made["CustomerID"], "CustomerName": name}]


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES, indirect=True)
def test_other_text_keeps_its_blanks_and_signs_as_well(api, text):
    line = text[:20]
    keys = {"WebsiteURL": text, "Delivery": {"AddressLine1": line, "AddressLine2": line}}
    made = api.new_customer(**keys)
    assert {k: made[k] for k in keys} == keys


@settings(max_examples=60, deadline=None, database=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_text_is_kept_or_refused(server, engine, text):
    assume("\x00" in text or readable(text, engine))
    name = text + unique_name("")
    with Api(server.url) as api:
        response = api.put("/customer", json={"CustomerName": name})
    if "\x00" in text:
        assert_problem(response, 422, "invalid-body", pointers={"/CustomerName"})
    else:
        assert one(response)["CustomerName"] == name


def to_length(text, units):
    """A name that begins with `text` and has so many UTF-16 code units."""
    name = text + unique_name("")
    return name + "x" * (units - len(name.encode("utf-16-le")) // 2)


@pytest.mark.parametrize("text", ["", "é", "漢" * 70, "👍" * 40], ids=ascii)
def test_a_name_has_at_most_100_units(api, text):
    longest = to_length(text, 100)
    assert api.new_customer(longest)["CustomerName"] == longest
    response = api.put("/customer", json={"CustomerName": to_length(text, 101)})
    problem = assert_problem(response, 422, "invalid-body", pointers={"/CustomerName"})
    assert "100" in problem["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("pointer", "units"),
    [
        ("/PhoneNumber", 20),
        ("/FaxNumber", 20),
        ("/WebsiteURL", 256),
        ("/Delivery/AddressLine1", 60),
        ("/Delivery/AddressLine2", 60),
        ("/Delivery/PostalCode", 10),
    ],
)
def test_every_column_takes_its_length_and_not_one_more(api, pointer, units):
    def keys(text):
        *outer, key = pointer.split("/")[1:]
        return {outer[0]: {key: text}} if outer else {key: text}

    longest = "👍" * (units // 2)
    made = api.new_customer(**keys(longest))
    assert made.items() >= keys(longest).items()
    body = {"CustomerName": unique_name(), **keys(longest + "x")}
    response = api.put("/customer", json=body)
    assert_problem(response, 422, "invalid-body", pointers={pointer})


def test_a_nul_is_refused_wherever_it_stands(api):
    body = {"CustomerName": "a\x00b", "Delivery": {"AddressLine1": "\x00"}}
    response = api.put("/customer", json=body)
    pointers = {"/CustomerName", "/Delivery/AddressLine1"}
    assert_problem(response, 422, "invalid-body", pointers=pointers)


@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00", "\\ud83d\\ud83d", "\\udc4d\\ud83d"])
def test_half_a_character_is_refused(api, escape):
    body = f'{{"CustomerName": "half {escape} of one"}}'
    response = api.put("/customer", data=body, headers={"Content-Type": "application/json"})
    assert_problem(response, 400, "invalid-json")


@pytest.mark.parametrize("octets", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80"])
def test_bytes_that_are_not_utf8_are_refused(api, octets):
    body = b'{"CustomerName": "' + octets + b'"}'
    response = api.put("/customer", data=body, headers={"Content-Type": "application/json"})
    assert_problem(response, 400, "invalid-json")
