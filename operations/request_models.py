"""The schemas of requests: one declaration validates a request and documents it in OpenAPI.

Lengths are those of Sales.Customers and count UTF-16 code units, as nvarchar does.
"""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from annotated_types import GroupedMetadata
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
# The error type for a text that has not the form of its type.
UNREADABLE = "unreadable"
# The default of a key that may be absent but not null.
ABSENT: Any = None


class Rules(GroupedMetadata):
    """Several annotations of a type under one name."""

    def __init__(self, *rules: object) -> None:
        self._rules = rules

    def __iter__(self) -> Iterator[object]:
        return iter(self._rules)


def _storable(most: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if "\x00" in text:
            raise PydanticCustomError("nul", "must not contain the character U+0000")
        # A character has one or two units, so that half as many characters always fit.
        if len(text) > most // 2 and len(text.encode("utf-16-le")) // 2 > most:
            raise PydanticCustomError(
                "text_too_long", "must have at most {most} UTF-16 code units", {"most": most}
            )
        if not text:
            raise PydanticCustomError("empty", "must not be empty; null means no value")
        return text

    return check


def _text(most: int) -> Rules:
    schema: dict[str, Any] = {"minLength": 1, "maxLength": most, "pattern": r"^[^\u0000]*$"}
    return Rules(Field(json_schema_extra=schema), AfterValidator(_storable(most)))


def _number_as_text(value: Any) -> Any:
    if value.__class__ is str:
        return value
    # In JSON, 15940.0 is the same number as 15940.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _written(pattern: str, form: str) -> BeforeValidator:
    """Accept only texts of this form; pydantic alone accepts ` 1`, `1_000` and Unix times too."""
    compiled = re.compile(pattern)

    def check(value: Any) -> Any:
        if isinstance(value, str) and not compiled.fullmatch(value):
            raise PydanticCustomError(UNREADABLE, "must be {what}", {"what": form})
        return value

    return BeforeValidator(check)


def _pattern(pattern: str, form: str, **documented: Any) -> Rules:
    """A string that matches `pattern`; the message for other strings contains `form` instead."""
    schema = {"type": "string", "pattern": f"^{pattern}$", **documented}
    return Rules(WithJsonSchema(schema), _written(pattern, form))


def _whole(least: int, most: int = INT_MAX) -> Rules:
    return Rules(Field(ge=least, le=most), _written("-?[0-9]{1,20}", "a whole number"))


def _number(least: float, most: float) -> Rules:
    pattern = r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?"
    return Rules(Field(ge=least, le=most, allow_inf_nan=False), _written(pattern, "a number"))


# Parts of a path. A number that no integer column can store is the number of no customer.
CustomerId = Annotated[int, Field(ge=1, le=INT_MAX, examples=[123])]
# Dollars and cents; a float column can't store many more digits exactly.
Amount = Annotated[
    str,
    _pattern(
        r"-?[0-9]{1,7}(\.[0-9]{1,6})?",
        "an amount such as 20 or 7.80, with at most 7 digits before the point and 6 after it",
        examples=["20"],
    ),
]
LocalDatetime = Annotated[
    NaiveDatetime,
    _written(
        r"[0-9]{4}(-[0-9]{2}){2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?",
        "local time such as 2019-01-31T13:34:15",
    ),
    WithJsonSchema(
        {"type": "string", "format": "date-time-local", "examples": ["2019-01-31T13:34:15"]}
    ),
]
Text10 = Annotated[str, _text(10)]
Text20 = Annotated[str, _text(20)]
Text60 = Annotated[str, _text(60)]
Text100 = Annotated[str, _text(100)]
Text256 = Annotated[str, _text(256)]
Code = Annotated[
    Text10,
    BeforeValidator(
        _number_as_text,
        json_schema_input_type=Text10 | Annotated[int, Field(ge=-999_999_999, le=9_999_999_999)],
    ),
]
Count = Annotated[int, _whole(0)]


CORNER_SHOP: dict[str, Any] = {
    "CustomerName": "Corner Shop",
    "PhoneNumber": "(555) 555-0100",
    "FaxNumber": "(555) 555-0101",
    "WebsiteURL": "https://www.example.com/corner-shop",
    "Delivery": {"AddressLine1": "Shop 1", "AddressLine2": "1 High Street", "PostalCode": 15940},
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Address(_Body):
    AddressLine1: Text60 | None = None
    AddressLine2: Text60 | None = None
    PostalCode: Code | None = None


class NewCustomer(_Body):
    """A customer to create, or the replacement of one."""

    model_config = ConfigDict(json_schema_extra={"examples": [CORNER_SHOP]})

    CustomerName: Text100
    PhoneNumber: Text20 | None = None
    FaxNumber: Text20 | None = None
    WebsiteURL: Text256 | None = None
    Delivery: Address | None = None


MAX_BULK = 1000
NewCustomerList = Annotated[list[NewCustomer], Field(min_length=1, max_length=MAX_BULK)]


class CustomerReplacement(NewCustomer):
    """As NewCustomer; CustomerID, if given, must equal the one in the path."""

    CustomerID: CustomerId = ABSENT


class CustomerPatch(_Body):
    """Keys to change: null clears a key, absent keys stay."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"PhoneNumber": "(555) 555-0102", "FaxNumber": None}]}
    )

    CustomerID: CustomerId = ABSENT
    CustomerName: Text100 = ABSENT
    PhoneNumber: Text20 | None = None
    FaxNumber: Text20 | None = None
    WebsiteURL: Text256 | None = None
    Delivery: Address | None = None


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


# The example is harmless where the default is a long response.
Limit = Annotated[Count, Field(description="maximum rows; 0 streams all", examples=[10])]
Format = Annotated[
    Literal["json", "ndjson", "csv", "arrow"],
    Field(description="of the rows; otherwise Accept chooses it"),
]
Sort = Literal["CustomerID", "-CustomerID", "CustomerName", "-CustomerName"]
FieldName = Literal[
    "CustomerID", "CustomerName", "PhoneNumber", "FaxNumber", "WebsiteURL", "Delivery"
]

After = Annotated[
    str,
    _pattern(
        r"[1-9][0-9]{0,9}(:[^\x00]{1,100})?",
        "the `after` of a page's Link: a CustomerID, or a CustomerID, a colon and a name",
        description="the end of the previous page: `after` of its Link, with the same sort",
    ),
]
NamePart = Annotated[
    str,
    _pattern(
        r"[^\x00]{1,100}",
        "1 to 100 characters without U+0000",
        description="a part of the name",
    ),
]


def _split(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


class CustomersQuery(_Query):
    """A page of the customers by key, or all customers."""

    limit: Limit = MAX_ROWS
    after: After | None = None
    name: NamePart | None = None
    fields: Annotated[
        list[FieldName],
        BeforeValidator(_split, json_schema_input_type=list[FieldName]),
        Field(json_schema_extra={"minItems": 1}, description="fields, joined by commas"),
    ] = ["CustomerID", "CustomerName"]
    sort: Sort = Field("CustomerID", validate_default=True, description="order; `-` is descending")
    format: Format | None = None

    @field_validator("sort")
    @classmethod
    def _fits_after(cls, sort: str, given: ValidationInfo) -> str:
        number, colon, _ = (given.data.get("after") or "0").partition(":")
        if number != "0" and (int(number) > INT_MAX or bool(colon) != sort.endswith("Name")):
            raise PydanticCustomError(
                "after", "differs from the sort of the page that `after` comes from"
            )
        return sort


class AmountQuery(_Query):
    """A page of trips."""

    limit: Limit = 1000
    offset: Annotated[Count, Field(description="rows to skip")] = 0
    format: Format | None = None


class TaxiQuery(AmountQuery):
    """Filters of trips: pickup_from is included, pickup_to is not."""

    total_amount: Annotated[float, _number(-1e7, 1e7)] | None = Field(
        None, description="exactly this total"
    )
    pickup_from: LocalDatetime | None = Field(None, description="earliest pick-up")
    pickup_to: LocalDatetime | None = Field(None, description="end of pick-ups, not included")
    payment_type: Annotated[int, _whole(0, 32_767)] | None = Field(
        None, description="1 is credit card, 2 is cash"
    )
    PULocationID: Count | None = Field(None, description="taxi zone of the pick-up")


class PassengersQuery(_Query):
    """A page of passengers by key, filtered."""

    survived: Annotated[bool, _written("[Tt]rue|[Ff]alse|[10]", "true or false")] | None = Field(
        None, description="whether the passenger survived"
    )
    pclass: Annotated[int, _whole(1, 3)] | None = Field(None, description="class of the ticket")
    sex: Literal["male", "female"] | None = Field(None, description="of the passenger")
    limit: Annotated[int, _whole(1, 1000), Field(description="maximum rows", examples=[10])] = 100
    after: Annotated[Count, Field(description="the last id of the previous page")] | None = None
    format: Format | None = None


class SummaryQuery(_Query):
    """The column to group by."""

    by: Literal["hour", "weekday", "payment_type"] = Field(description="column to group by")
    format: Format | None = None
