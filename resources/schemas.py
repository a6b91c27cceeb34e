"""What requests may hold: one declaration validates, and documents itself.

Lengths are those of Sales.Customers and count UTF-16 code units, as nvarchar does.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
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


class CustomerReplacement(NewCustomer):
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


Limit = Annotated[int, Field(ge=1, le=MAX_ROWS)]


class CustomersQuery(_Query):
    limit: Limit = MAX_ROWS
    after: str | None = Field(None, pattern=r"^\d{1,10}(:.{0,100})?$")
    name: Annotated[str, AfterValidator(_storable)] | None = Field(None, max_length=100)
    fields: str | None = Field(None, max_length=100)
    sort: Literal["CustomerID", "-CustomerID", "CustomerName", "-CustomerName"] = "CustomerID"


class AmountQuery(_Query):
    limit: Limit = 1000
    offset: Annotated[int, Field(ge=0, le=INT_MAX)] = 0


class TaxiQuery(AmountQuery):
    total_amount: Annotated[float, Field(ge=-1e7, le=1e7, allow_inf_nan=False)] | None = None
    pickup_from: datetime | None = None
    pickup_to: datetime | None = None
    payment_type: Annotated[int, Field(ge=0, le=32_767)] | None = None
    PULocationID: Annotated[int, Field(ge=0, le=INT_MAX)] | None = None
