"""What is answered, for the documentation: the JSON itself comes from the database."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from operations.request_models import CustomerId, LocalDatetime

CUSTOMER_123 = {
    "CustomerID": 123,
    "CustomerName": "Tailspin Toys (Roe Park, NY)",
    "PhoneNumber": "(212) 555-0100",
    "FaxNumber": "(212) 555-0101",
    "WebsiteURL": "http://www.tailspintoys.com/RoePark",
    "Delivery": {
        "AddressLine1": "Shop 219",
        "AddressLine2": "528 Persson Road",
        "PostalCode": "90775",
    },
}


class _Answer(BaseModel):
    # A field that may be absent has the default None, which is never sent.
    model_config = ConfigDict(extra="forbid")


class DeliveryAnswer(_Answer):
    """Where to deliver; what has no value is absent."""

    AddressLine1: str = None
    AddressLine2: str = None
    PostalCode: str = None


class CustomerItem(_Answer):
    """A customer as far as `fields` asks for it."""

    CustomerID: CustomerId = None
    CustomerName: str = None
    PhoneNumber: str = None
    FaxNumber: str = None
    WebsiteURL: str = None
    Delivery: DeliveryAnswer = None


class CustomerAnswer(CustomerItem):
    """A customer; what has no value is absent."""

    model_config = ConfigDict(json_schema_extra={"examples": [CUSTOMER_123]})

    CustomerID: CustomerId
    CustomerName: str


class Deleted(_Answer):
    """The customer that was."""

    CustomerID: CustomerId


class Trip(_Answer):
    """A yellow-taxi trip, its columns in the order of the table; what has no value is null."""

    VendorID: int | None
    tpep_pickup_datetime: LocalDatetime | None
    tpep_dropoff_datetime: LocalDatetime | None
    passenger_count: int | None
    trip_distance: float | None
    RatecodeID: int | None
    store_and_fwd_flag: bool | None
    PULocationID: int | None
    DOLocationID: int | None
    payment_type: int | None
    fare_amount: float | None
    extra: float | None
    mta_tax: float | None
    tip_amount: float | None
    tolls_amount: float | None
    improvement_surcharge: float | None
    total_amount: float | None
    congestion_surcharge: float | None


class TripsSummary(_Answer):
    """Trips, fares and tips of one hour (0-23), weekday (1 is Monday) or payment type."""

    hour: int = None
    weekday: int = None
    payment_type: int | None = None
    trips: int
    fare_amount: float | None
    tip_amount: float | None
    total_amount: float | None


class PassengerAnswer(_Answer):
    """A passenger, in the columns of the table."""

    id: int
    Survived: Literal[0, 1]
    Pclass: int
    Name: str
    Sex: str
    Age: float | None
    sibling_or_spouse: int
    parents_or_children: int
    Fare: float


class Live(_Answer):
    """The process answers."""

    status: Literal["live"]


class DatabaseState(_Answer):
    """What the last probe of a database found, how long it took (milliseconds), and how many
    seconds ago that was."""

    state: Literal[
        "ready", "checking", "resuming", "login refused", "unreachable", "not configured"
    ]
    latency_ms: float | None
    age_seconds: float | None
    source: str


class Ready(_Answer):
    """Ready is who can ask every database that is configured."""

    status: Literal["ready", "not ready"]
    databases: dict[str, DatabaseState]


class Welcome(_Answer):
    """Where to go from here."""

    name: str
    version: str
    links: dict[str, str]
    databases: dict[Literal["WWIF", "TAXI"], str]


class Fault(_Answer):
    """One fault: where in the body (a JSON pointer) or in which parameter, and what it is."""

    pointer: str = None
    parameter: str = None
    detail: str


class ProblemDetails(_Answer):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = None
    errors: list[Fault] = None
    instance: str


Document = dict[str, Any]
