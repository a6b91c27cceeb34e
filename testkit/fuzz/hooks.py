"""Hooks for what the OpenAPI document can't express. The configuration of Schemathesis loads them.

They hide no response: they change requests only, and only where the document allows more than the
API promises.
"""

import json
import re
import uuid

import schemathesis
from hypothesis import strategies as st

from operations.request_models import INT_MAX
from protocol.idempotency import IDEMPOTENCY_KEY

FORM = "application/x-www-form-urlencoded"
# A shorter deadline may end in a 504, which only a client that sends one should get.
PATIENT_SECONDS = 20
LONGEST_KEY = 200
SHORTEST_LIMIT = 10
# api.create_order takes any number; the column behind it takes amounts from 0 to below this one.
HIGHEST_AMOUNT = 10_000_000

NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?")

moments = st.datetimes().map(lambda moment: moment.isoformat())
schemathesis.openapi.format("date-time-local", moments)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("abc"),
    lambda inner: st.lists(inner, max_size=3),
)
schemathesis.openapi.format("json", json_values.map(json.dumps))


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Schemathesis can't write JSON into a field of a URL-encoded form; multipart works."""
    for item in raw_schema["paths"].values():
        for operation in item.values():
            operation.get("requestBody", {"content": {}})["content"].pop(FORM, None)


@schemathesis.hook
def filter_case(context, case):
    """`after` belongs to a sort."""
    query = case.query or {}
    after, sort = query.get("after"), query.get("sort", "CustomerID")
    if not isinstance(after, str) or not isinstance(sort, str):
        return True
    number, colon, _ = after.partition(":")
    return bool(colon) == sort.endswith("Name") and (
        not re.fullmatch("[0-9]+", number) or int(number) <= INT_MAX
    )


@schemathesis.hook
def before_call(context, case, kwargs):
    """The key in the body equals that of the path, an amount fits its column, each Idempotency-Key
    is new, and no deadline is shorter than PATIENT_SECONDS."""
    path = str((case.path_parameters or {}).get("customer_id"))
    case.body = _sendable(case.body, int(path) if path.isdigit() else 1)
    headers = case.headers or {}
    # Schemathesis 4.32 generates `0` where the pattern requires quotes, and treats it as valid.
    if case.meta and case.meta.generation.mode.is_positive and headers.get("If-Match") == "0":
        headers["If-Match"] = "*"
    key = headers.get("Idempotency-Key")
    if isinstance(key, str) and IDEMPOTENCY_KEY.fullmatch(key):
        quote = '"' if key.startswith('"') else ""
        headers["Idempotency-Key"] = quote + uuid.uuid4().hex + key[len(quote) :][-LONGEST_KEY:]
    timeout = headers.get("Request-Timeout")
    seconds = float(timeout) if NUMBER.fullmatch(str(timeout)) else PATIENT_SECONDS
    if 0 < seconds < PATIENT_SECONDS:
        headers["Request-Timeout"] = str(PATIENT_SECONDS)


def _sendable(value, number):
    """Lengths count UTF-16 code units, JSON Schema counts characters: few that are two."""
    if isinstance(value, str) and len(value) > SHORTEST_LIMIT // 2:
        return re.sub("[\U00010000-\U0010ffff]", "\N{SNOWMAN}", value)
    if isinstance(value, dict):
        known = {"CustomerID": number} if _is_number(value.get("CustomerID")) else {}
        amount = value.get("amount")
        if type(amount) in (int, float):
            known["amount"] = abs(amount) % HIGHEST_AMOUNT
        return {key: _sendable(part, number) for key, part in value.items()} | known
    return [_sendable(part, number) for part in value] if isinstance(value, list) else value


def _is_number(value):
    return type(value) is int and 0 < value <= INT_MAX
