"""What the OpenAPI document can't say, told to Schemathesis. Loaded by its configuration.

Nothing here hides an answer: hooks change what is sent, and only where the document allows more
than the API promises.
"""

import json
import re
import uuid

import schemathesis
from hypothesis import strategies as st

from resources.base import IDEMPOTENCY_KEY
from resources.schemas import INT_MAX

FORM = "application/x-www-form-urlencoded"
# Asking for less earns a 504, and is to be asked for.
PATIENT_SECONDS = 20
LONGEST_KEY = 200
SHORTEST_LIMIT = 10

schemathesis.openapi.format("date-time-local", st.datetimes().map(lambda moment: moment.isoformat()))


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
    """A number in the body is that of the path; a form's field holds JSON as text; a key is used
    once; patience is the default."""
    path = str((case.path_parameters or {}).get("customer_id"))
    case.body = _sendable(case.body, int(path) if path.isdigit() else 1)
    if case.media_type == FORM and isinstance(case.body, dict):
        case.body = {k: v if isinstance(v, str) else json.dumps(v) for k, v in case.body.items()}
    if case.media_type == FORM: open("/tmp/oa/dbg","a").write(repr((case.body, kwargs, case.meta))+"\n")
    headers = case.headers or {}
    if "If-Match" in headers: open("/tmp/oa/dbg","a").write("M"+repr((case.headers, case.meta))+"\n")
    key = headers.get("Idempotency-Key")
    if isinstance(key, str) and IDEMPOTENCY_KEY.fullmatch(key):
        quote = '"' if key.startswith('"') else ""
        headers["Idempotency-Key"] = quote + uuid.uuid4().hex + key[len(quote) :][-LONGEST_KEY:]
    timeout = headers.get("Request-Timeout")
    if isinstance(timeout, str) and re.fullmatch(r"[0-9.]+(e[-+]?[0-9]+)?", timeout):
        if 0 < float(timeout) < PATIENT_SECONDS:
            headers["Request-Timeout"] = str(PATIENT_SECONDS)


def _sendable(value, number):
    """Lengths count UTF-16 code units, JSON Schema counts characters: few that are two."""
    if isinstance(value, str) and len(value) > SHORTEST_LIMIT // 2:
        return re.sub("[\U00010000-\U0010ffff]", "\N{SNOWMAN}", value)
    if isinstance(value, dict):
        known = {"CustomerID": number} if _is_number(value.get("CustomerID")) else {}
        return {key: _sendable(part, number) for key, part in value.items()} | known
    return [_sendable(part, number) for part in value] if isinstance(value, list) else value


def _is_number(value):
    return type(value) is int and 0 < value <= INT_MAX
