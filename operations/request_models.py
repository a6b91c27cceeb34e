"""What requests may hold: one declaration validates, and documents itself.

Lengths are those of Sales.Customers and count UTF-16 code units, as nvarchar does.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NaiveDatetime,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

INT_MAX = 2_147_483_647
MAX_ROWS = 10_000


# Parts of a path. A customer's number that no integer column can hold is no customer's.
CustomerId = Annotated[int, Field(ge=1, le=INT_MAX, examples=[123])]
# Dollars and cents; a float column can't hold many more digits exactly.
Amount = Annotated[str, Field(pattern=r"^-?[0-9]{1,7}(\.[0-9]{1,6})?$", examples=["20"])]


def _storable(text: str) -> str:
    if "\x00" in text:
        raise PydanticCustomError("nul", "must not contain the character U+0000")
    return text


def _length(most: int):
    def check(text: str) -> str:
        if len(text.encode("utf-16-le")) // 2 > most:
            raise PydanticCustomError(
                "too_long", "must have at most {most} UTF-16 code units", {"most": most}
            )
        if not text:
            raise PydanticCustomError("empty", "must not be empty; null means no value")
        return text

    return check


def _text(most: int) -> Any:
    return Annotated[
        str,
        Field(
            json_schema_extra={"minLength": 1, "maxLength": most, "pattern": r"^[^\u0000]*$"},
        ),
        AfterValidator(_storable),
        AfterValidator(_length(most)),
    ]


def _number_as_text(value: Any) -> Any:
    # To JSON, 15940.0 is as whole a number as 15940.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _written(pattern: str, what: str) -> BeforeValidator:
    """For texts of a query; pydantic alone would read ` 1`, `1_000` or seconds since 1970 too."""
    compiled = re.compile(pattern)

    def check(value: Any) -> Any:
        if isinstance(value, str) and not compiled.fullmatch(value):
            raise PydanticCustomError("unreadable", "must be {what}", {"what": what})
        return value

    return BeforeValidator(check)


def _whole(least: int, most: int = INT_MAX) -> Any:
    limits = Field(ge=least, le=most)
    return Annotated[int, limits, _written("-?[0-9]{1,20}", "a whole number")]


def _number(least: float, most: float) -> Any:
    limits = Field(ge=least, le=most, allow_inf_nan=False)
    pattern = r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?"
    return Annotated[float, limits, _written(pattern, "a number")]


LocalDatetime = Annotated[
    NaiveDatetime,
    _written(
        r"[0-9]{4}(-[0-9]{2}){2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?",
        "local time such as 2019-01-31T13:34:15",
    ),
    WithJsonSchema(
        {"type": "string", "format": "date-time-local", "examples": ["2019-01-31T13:34:15"]}
    ),
]
Code = Annotated[
    _text(10),
    BeforeValidator(
        _number_as_text,
        json_schema_input_type=_text(10) | Annotated[int, Field(ge=-999_999_999, le=9_999_999_999)],
    ),
]


CORNER_SHOP = {
    "CustomerName": "Corner Shop",
    "PhoneNumber": "(555) 555-0100",
    "FaxNumber": "(555) 555-0101",
    "WebsiteURL": "https://www.example.com/corner-shop",
    "Delivery": {"AddressLine1": "Shop 1", "AddressLine2": "1 High Street", "PostalCode": 15940},
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Address(_Body):
    AddressLine1: _text(60) | None = None
    AddressLine2: _text(60) | None = None
    PostalCode: Code | None = None


class NewCustomer(_Body):
    """A customer to be made, or what one is to be replaced by."""

    model_config = ConfigDict(json_schema_extra={"examples": [CORNER_SHOP]})

    CustomerName: _text(100)
    PhoneNumber: _text(20) | None = None
    FaxNumber: _text(20) | None = None
    WebsiteURL: _text(256) | None = None
    Delivery: Address | None = None


MAX_BULK = 1000
NewCustomerList = Annotated[list[NewCustomer], Field(min_length=1, max_length=MAX_BULK)]


class CustomerReplacement(NewCustomer):
    """As NewCustomer; CustomerID, if given, is that of the path."""

    CustomerID: CustomerId = None


class CustomerPatch(_Body):
    """Keys to change: null clears, absent leaves."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"PhoneNumber": "(555) 555-0102", "FaxNumber": None}]}
    )

    CustomerID: CustomerId = None
    CustomerName: _text(100) = None
    PhoneNumber: _text(20) | None = None
    FaxNumber: _text(20) | None = None
    WebsiteURL: _text(256) | None = None
    Delivery: Address | None = None


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


Limit = Annotated[_whole(0), Field(description="0 means all, streamed")]
Format = Literal["json", "ndjson", "csv"]
Sort = Literal["CustomerID", "-CustomerID", "CustomerName", "-CustomerName"]
FieldName = Literal[
    "CustomerID", "CustomerName", "PhoneNumber", "FaxNumber", "WebsiteURL", "Delivery"
]

After = Annotated[
    str,
    Field(
        pattern=r"^[1-9][0-9]{0,9}(:[^\x00]{1,100})?$",
        description="where the page before ended: `after` of its Link; belongs to its sort",
    ),
]
NamePart = Annotated[str, Field(pattern=r"^[^\x00]{1,100}$", description="what the name contains")]


def _split(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


class CustomersQuery(_Query):
    """The customers' list: a page of it by key, or all of it."""

    limit: Annotated[Limit, Field(description=f"0: all; default: up to {MAX_ROWS}")] = MAX_ROWS
    after: After | None = None
    name: NamePart | None = None
    fields: Annotated[
        list[FieldName],
        BeforeValidator(_split, json_schema_input_type=list[FieldName]),
        Field(json_schema_extra={"minItems": 1}, description="joined by commas"),
    ] = ["CustomerID", "CustomerName"]
    sort: Annotated[Sort, Field(validate_default=True)] = "CustomerID"
    format: Format | None = None

    @field_validator("sort")
    @classmethod
    def _fits_after(cls, sort: str, given: ValidationInfo) -> str:
        number, colon, _ = (given.data.get("after") or "0").partition(":")
        if number != "0" and (int(number) > INT_MAX or bool(colon) != sort.endswith("Name")):
            raise PydanticCustomError("after", "is not the sort that `after` belongs to")
        return sort


class AmountQuery(_Query):
    """A page of trips."""

    limit: Limit = 1000
    offset: _whole(0) = 0
    format: Format | None = None


class TaxiQuery(AmountQuery):
    """Filters; the interval of pick-ups is half open."""

    total_amount: _number(-1e7, 1e7) | None = None
    pickup_from: LocalDatetime | None = None
    pickup_to: LocalDatetime | None = None
    payment_type: _whole(0, 32_767) | None = None
    PULocationID: _whole(0) | None = None


class PassengersQuery(_Query):
    """A page of passengers by key, filtered."""

    survived: Annotated[bool, _written("true|false", "true or false")] | None = None
    pclass: _whole(1, 3) | None = None
    sex: Literal["male", "female"] | None = None
    limit: _whole(1, 1000) = 100
    after: Annotated[_whole(0), Field(description="the last id of the page before")] | None = None


class SummaryQuery(_Query):
    """What to group by."""

    by: Literal["hour", "weekday", "payment_type"]
