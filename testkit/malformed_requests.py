"""Requests that are wrong, each in a way of its own, and valid ones among them."""

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
TEN_MEGABYTES = 10_000_000
# One in so many requests is valid; a large body is rarer, since each is 10 MB to send.
VALID_IN = 20
LARGE_IN = 500

ROUTES = (("PUT", "/customer"), ("POST", "/customer"), ("PUT", "/customer/123"))
BRACKETS = (("[", "]"), ('{"a":', "}"))
DEPTHS = (64, 65, 1_000, 100_000)
WITH_NUL = (b"a\0b", b"\0", rb"a\u0000b", rb"\u0000", b"a" * 50 + rb"\u0000")
LONE_SURROGATES = (
    *(rb"\ud800", rb"\udfff", rb"\ud800\ud800", rb"\udc00\ud83d", rb"\ud8"),
    *(b"\xed\xa0\x80", b"\xed\xbf\xbf"),
)
LIMITS = {"CustomerName": 100, "PhoneNumber": 20, "FaxNumber": 20, "WebsiteURL": 256}
HUGE_DIGITS = (11, 20, 400, 4_299, 4_301, 50_000)
NO_NUMBERS = ("NaN", "-NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1.", "01", "+1", "0x1")
NO_NAMES = (1, 1.5, True, [], {}, ["a"], {"a": None}, None, "")
BAD_FORMS = (
    *(b"customer=%ff%fe", b"customer=", b"client={}", b"", b"customer={}&customer={}", b"%00"),
    *(b'customer={"CustomerName":"a%ED%A0%80"}', b'customer={"CustomerName":"%FF"}'),
    b'customer={"CustomerName":"a"}&also=1',
)
BAD_KINDS = ("text/plain", "application/xml", "", "application/jsonp", "\x7f")
QUERIED = ("/customers", "/taxidata", "/taxidata/20", "/passengers")
PARAMETERS = ("limit", "offset", "after", "sort", "fields", "format", "nothing")
BAD_VALUES = ("x", "", "-1", "1" * 30, "NaN", "%00", "%ff", "1;2", "%F0%9F%98")
BAD_PATHS = ("0", "-1", "9" * 40, "%00", "%ff", "1e3", "NaN", "..%2f", "1%2f2")
# From one byte of UTF-8 to four; surrogates are no characters.
CHARACTERS = ((0x01, 0x7F), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000))
LONGEST_TAIL = 34


@dataclass(frozen=True)
class Sent:
    """A request. `name`: that of a customer it makes; None for one that is to be refused."""

    method: str
    path: str
    body: bytes
    content_type: str = JSON
    name: str | None = None


class Maker:
    """Makes requests, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._pick = self._random.choice
        self._kinds = (
            *(self._noise, self._truncated, self._nested, self._twins, self._nul, self._surrogate),
            *(self._too_long, self._huge_integer, self._no_number, self._no_name, self._stranger),
            *(self._bad_form, self._bad_query, self._bad_path, self._bad_media_type),
        )

    def requests(self, count: int) -> Iterator[Sent]:
        for number in range(count):
            if number % VALID_IN == 0:
                yield self._valid()
            elif number % LARGE_IN == 1:
                yield self._large()
            else:
                yield self._pick(self._kinds)()

    def _valid(self) -> Sent:
        """A name of any characters that text may hold, in UTF-8, as escapes, or in a form."""
        name = uuid.UUID(int=self._random.getrandbits(128)).hex
        for _ in range(self._random.randint(0, LONGEST_TAIL)):
            name += chr(self._random.randrange(*self._pick(CHARACTERS)))
        text = json.dumps({"CustomerName": name}, ensure_ascii=self._random.random() < 0.5)
        if self._random.random() < 0.3:
            return Sent("PUT", "/customer", urlencode({"customer": text}).encode(), FORM, name)
        return Sent("PUT", "/customer", text.encode(), name=name)

    def _noise(self) -> Sent:
        return self._refused(b"\xff" + self._random.randbytes(self._random.randint(0, 2_000)))

    def _truncated(self) -> Sent:
        whole = self._whole()
        return self._refused(whole[: self._random.randrange(len(whole))])

    def _nested(self) -> Sent:
        (opening, closing), depth = self._pick(BRACKETS), self._pick(DEPTHS)
        return self._refused((opening * depth + "1" + closing * depth).encode())

    def _twins(self) -> Sent:
        return self._refused(b'{"CustomerName":"a","CustomerName":"b"}')

    def _nul(self) -> Sent:
        return self._refused(b'{"CustomerName":"' + self._pick(WITH_NUL) + b'"}')

    def _surrogate(self) -> Sent:
        return self._refused(b'{"CustomerName":"x' + self._pick(LONE_SURROGATES) + b'"}')

    def _too_long(self) -> Sent:
        key, most = self._pick(tuple(LIMITS.items()))
        # The last of these counts as two.
        text = self._pick(("a", "é", "漢", "😀")) * (most + self._pick((1, 2, 5_000)))
        return self._refused(json.dumps({"CustomerName": "a", key: text}).encode())

    def _huge_integer(self) -> Sent:
        return self._with_postal_code("9" * self._pick(HUGE_DIGITS))

    def _no_number(self) -> Sent:
        return self._with_postal_code(self._pick(NO_NUMBERS))

    def _no_name(self) -> Sent:
        return self._refused(json.dumps({"CustomerName": self._pick(NO_NAMES)}).encode())

    def _stranger(self) -> Sent:
        return self._refused(b'{"CustomerName":"a","Unknown":1}')

    def _large(self) -> Sent:
        return self._refused(b'{"CustomerName":"' + b"a" * TEN_MEGABYTES + b'"}')

    def _bad_form(self) -> Sent:
        return self._refused(self._pick(BAD_FORMS), FORM)

    def _bad_query(self) -> Sent:
        name, value = self._pick(PARAMETERS), self._pick(BAD_VALUES)
        # Twice, so that it is refused even where the value happens to fit.
        return Sent("GET", f"{self._pick(QUERIED)}?{name}={value}&{name}={value}", b"")

    def _bad_path(self) -> Sent:
        before = self._pick(("/customer/", "/taxidataprice/x"))
        return Sent("GET", before + self._pick(BAD_PATHS), b"")

    def _bad_media_type(self) -> Sent:
        return self._refused(self._whole(), self._pick(BAD_KINDS))

    def _whole(self) -> bytes:
        address = {"AddressLine1": "Shop 219", "PostalCode": 90775}
        return json.dumps({"CustomerName": "never made", "Delivery": address}).encode()

    def _with_postal_code(self, code: str) -> Sent:
        text = '{"CustomerName":"a","Delivery":{"PostalCode":' + code + "}}"
        return self._refused(text.encode())

    def _refused(self, body: bytes, content_type: str = JSON) -> Sent:
        return Sent(*self._pick(ROUTES), body, content_type)
