"""The schemas of responses, for OpenAPI; the JSON itself comes from the database."""

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from operations.request_models import ABSENT, CustomerId, LocalDatetime

CUSTOMER_123: dict[str, Any] = {
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
    # ABSENT marks keys that may be absent; no response contains this default.
    model_config = ConfigDict(extra="forbid")


class DeliveryAnswer(_Answer):
    """The delivery address; keys without a value are absent."""

    AddressLine1: str = ABSENT
    AddressLine2: str = ABSENT
    PostalCode: str = ABSENT


class CustomerItem(_Answer):
    """A customer with the keys that `fields` names."""

    CustomerID: CustomerId = ABSENT
    CustomerName: str = ABSENT
    PhoneNumber: str = ABSENT
    FaxNumber: str = ABSENT
    WebsiteURL: str = ABSENT
    Delivery: DeliveryAnswer = ABSENT


class CustomerAnswer(CustomerItem):
    """A customer; keys without a value are absent."""

    model_config = ConfigDict(json_schema_extra={"examples": [CUSTOMER_123]})

    CustomerID: CustomerId
    CustomerName: str


class Deleted(_Answer):
    """The deleted customer."""

    CustomerID: CustomerId


class Trip(_Answer):
    """A yellow-taxi trip in the order of the table's columns; missing values are null."""

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

    hour: int = ABSENT
    weekday: int = ABSENT
    payment_type: int | None = ABSENT
    trips: int
    fare_amount: float | None
    tip_amount: float | None
    total_amount: float | None


class PassengerAnswer(_Answer):
    """A passenger in the order of the table's columns."""

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
    """The process is running."""

    status: Literal["live"]


class ReplicaState(_Answer):
    """Whether a replica serves reads, and by how many seconds it is behind at most."""

    name: str
    state: Literal[
        "ready",
        "checking",
        "lagging",
        "resuming",
        "login refused",
        "unreachable",
        "promoted",
        "another database",
    ]
    lag_seconds: float | None


class DatabaseState(_Answer):
    """The result of the last probe of a database, with its duration and its age."""

    state: Literal[
        "ready", "checking", "resuming", "login refused", "unreachable", "not configured"
    ]
    latency_ms: float | None
    age_seconds: float | None
    source: str
    replicas: list[ReplicaState] = ABSENT


class Ready(_Answer):
    """Ready if every configured database answers."""

    status: Literal["ready", "not ready"]
    databases: dict[str, DatabaseState]


class _Requests(_Answer):
    # Times are null without requests.
    requests: int
    requests_per_second: float
    server_errors: int
    client_errors: int
    error_rate: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class RouteFigures(_Requests):
    """Requests of one method of a route, by its template."""

    method: str
    route: str


class DatabaseFigures(_Answer):
    """The pool now, summed over all workers, and what happened in the last 15 minutes."""

    name: str
    idle: int
    in_use: int
    connecting: int
    max_size: int
    waiting: int
    connects: int
    connect_failures: int
    timeouts: int
    rejected: int
    retries: int
    call_failures: int


class Point(_Answer):
    """An interval that ended at `at`, and the connections at its end."""

    at: AwareDatetime
    requests_per_second: float
    server_errors: int
    p50_ms: float | None
    p95_ms: float | None
    in_use: int
    waiting: int


class RecentProblem(_Answer):
    """A response with a status from 400 on, or one that the client did not receive whole."""

    time: AwareDatetime
    request_id: str
    method: str
    route: str
    status: int
    duration_ms: float
    complete: bool
    failure: str | None
    sqlstate: str | None


class Figures(_Requests):
    """The last 15 minutes, or the `seconds` since the server's start."""

    seconds: float
    databases: list[DatabaseFigures]
    routes: list[RouteFigures]
    series: list[Point]
    problems: list[RecentProblem]


class Welcome(_Answer):
    """Links to the documentation and the first routes. groups: those that the caller may use."""

    name: str
    version: str
    links: dict[str, str]
    groups: list[Literal["read", "write", "operate"]]
    databases: dict[Literal["WWIF", "TAXI"], str]


class Fault(_Answer):
    """A fault of the request, at a JSON pointer into the body or in a query parameter."""

    pointer: str = ABSENT
    parameter: str = ABSENT
    detail: str


class ProblemDetails(_Answer):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = ABSENT
    errors: list[Fault] = ABSENT
    instance: str


Document = dict[str, Any]
