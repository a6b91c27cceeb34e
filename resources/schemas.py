"""What requests may hold: one declaration validates, and documents itself.

Lengths are those of Sales.Customers and count UTF-16 code units, as nvarchar does.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, NaiveDatetime
from pydantic_core import PydanticCustomError

INT_MAX = 2_147_483_647
MAX_ROWS = 10_000


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
        Field(json_schema_extra={"minLength": 1, "maxLength": most}),
        AfterValidator(_storable),
        AfterValidator(_length(most)),
    ]


def _number_as_text(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


Code = Annotated[
    _text(10),
    BeforeValidator(_number_as_text, json_schema_input_type=str | int),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Address(_Body):
    AddressLine1: _text(60) | None = None
    AddressLine2: _text(60) | None = None
    PostalCode: Code | None = None


class NewCustomer(_Body):
    """A customer to be made, or what one is to be replaced by."""

    CustomerName: _text(100)
    PhoneNumber: _text(20) | None = None
    FaxNumber: _text(20) | None = None
    WebsiteURL: _text(256) | None = None
    Delivery: Address | None = None


MAX_BULK = 1000
NewCustomerList = Annotated[list[NewCustomer], Field(min_length=1, max_length=MAX_BULK)]


class CustomerReplacement(NewCustomer):
    """As NewCustomer; CustomerID, if given, is that of the path."""

    CustomerID: int | None = None


class CustomerPatch(_Body):
    """Keys to change: null clears, absent leaves."""

    CustomerID: int | None = None
    CustomerName: _text(100) = None
    PhoneNumber: _text(20) | None = None
    FaxNumber: _text(20) | None = None
    WebsiteURL: _text(256) | None = None
    Delivery: Address | None = None


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


Limit = Annotated[int, Field(ge=0, le=INT_MAX, description="0 means all, streamed")]
Format = Literal["json", "ndjson", "csv"]
FieldName = Literal[
    "CustomerID", "CustomerName", "PhoneNumber", "FaxNumber", "WebsiteURL", "Delivery"
]


def _split(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


class CustomersQuery(_Query):
    """The customers' list: a page of it by key, or all of it."""

    limit: Annotated[Limit, Field(description=f"0: all; default: up to {MAX_ROWS}")] = MAX_ROWS
    after: Annotated[
        str | None,
        AfterValidator(lambda v: v and _storable(v)),
        Field(pattern=r"^\d{1,9}(:.{1,100})?$", description="where the page before ended"),
    ] = None
    name: Annotated[
        str | None,
        AfterValidator(lambda v: v and _storable(v)),
        Field(min_length=1, max_length=100, description="substring of the name"),
    ] = None
    fields: Annotated[list[FieldName], BeforeValidator(_split, json_schema_input_type=str)] = [
        "CustomerID",
        "CustomerName",
    ]
    sort: Literal["CustomerID", "-CustomerID", "CustomerName", "-CustomerName"] = "CustomerID"
    format: Format | None = None


class AmountQuery(_Query):
    """A page of trips."""

    limit: Limit = 1000
    offset: Annotated[int, Field(ge=0, le=INT_MAX)] = 0
    format: Format | None = None


class TaxiQuery(AmountQuery):
    """Filters; the interval of pick-ups is half open."""

    total_amount: Annotated[float, Field(ge=-1e7, le=1e7, allow_inf_nan=False)] | None = None
    pickup_from: NaiveDatetime | None = None
    pickup_to: NaiveDatetime | None = None
    payment_type: Annotated[int, Field(ge=0, le=32_767)] | None = None
    PULocationID: Annotated[int, Field(ge=0, le=INT_MAX)] | None = None


class SummaryQuery(_Query):
    """What to group by."""

    by: Literal["hour", "weekday", "payment_type"]
