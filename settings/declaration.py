"""Every setting: its name, default, unit, help, and what its text may be.

scripts/settings_docs.py writes docs/settings.md and .env.example from these declarations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from authentication.api_keys import ApiKey, read_keys
from authentication.principal import read_roles
from authentication.schemes import ALGORITHMS
from settings.connection_strings import TARGETS, Target
from settings.values import (
    NO_CHOICE,
    anonymous_groups,
    authentication_methods,
    folder,
    number,
    one_of,
    origins,
    rate_storage,
    rates,
    route_seconds,
    schemas,
    seconds,
    url,
    words,
    yes_or_no,
)

EMBEDDED_SOURCE = "embedded sample with invented data"


@dataclass(frozen=True)
class Setting:
    """The declaration of one setting.

    name: the environment variable. help: a noun phrase that stands alone. default: as text.
    unit: what the value is or counts. read: makes the value from text; raises ValueError with
    the end of the sentence "it must be …", in which `{unit}` is replaced. secret: whether
    messages leave the value out.
    """

    name: str
    help: str
    default: str
    unit: str
    read: Callable[[str], Any]
    secret: bool = False

    @property
    def attribute(self) -> str:
        return self.name.lower()


def _setting(
    help: str, default: str, unit: str, read: Callable[[str], Any], *, secret: bool = False
) -> Any:
    """A field of Settings that is read from the variable of its name in capitals."""
    declared = {"help": help, "default": default, "unit": unit, "read": read, "secret": secret}
    return field(repr=not secret, metadata=declared)


def _whole(help: str, default: str, unit: str, least: int, most: int) -> Any:
    return _setting(help, default, unit, number(least, most, int))


def _seconds(help: str, default: str, *, least: float = 0.0) -> Any:
    return _setting(help, default, "seconds", seconds(least))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, read and checked. `targets` holds only databases with a connection string."""

    local_dir: Path = _setting(  # noqa: RUF009 (a dataclass field)
        "folder for the data of the embedded database", ".local", "folder", folder
    )
    pool_min_size: int = _whole(
        "minimum connections kept open per process and database", "0", "connections", 0, 1000
    )
    pool_max_size: int = _whole(
        "maximum connections per process and database", "8", "connections", 1, 1000
    )
    pool_max_waiting: int = _whole(
        "maximum requests that wait for a connection; more get 503", "64", "requests", 0, 100_000
    )
    pool_acquire_timeout_seconds: float = _seconds(
        "longest wait for a pooled connection", "10", least=0.01
    )
    pool_max_lifetime_seconds: float = _seconds(
        "age at which a connection is replaced", "1800", least=1
    )
    pool_max_idle_seconds: float = _seconds(
        "idle time after which a connection is closed", "300", least=1
    )
    pool_leak_seconds: float = _seconds(
        "checkout time after which a warning is logged; 0 disables", "0"
    )
    login_timeout_seconds: float = _seconds("longest time to open a connection", "30", least=1)
    request_deadline_seconds: float = _seconds(
        "deadline of a request: queueing, connecting, retries and execution", "30", least=0.05
    )
    max_request_bytes: int = _whole("largest request body", "1048576", "bytes", 1024, 1 << 30)
    head_seconds: float = _seconds("longest wait for a request's head", "10", least=0.05)
    body_seconds: float = _seconds("longest wait for a request's body", "10", least=0.05)
    pin_workers: bool = _setting(
        "whether each gunicorn worker keeps to one CPU", "yes", "yes or no", yes_or_no
    )
    stall_seconds: float = _seconds(
        "longest wait for a client that stops reading its response", "30", least=0.05
    )
    route_deadlines: Mapping[str, float] = _setting(
        "deadlines of single routes in seconds, such as /taxidata=60,/customers=5",
        "",
        "routes",
        route_seconds,
    )
    max_streams: int = _whole(
        "maximum streamed responses at a time per process; 0 disables the limit",
        "6",
        "streams",
        0,
        1000,
    )
    rate_limit: str = _setting(
        "maximum rate of a client, such as 100 per minute; per process unless RATE_LIMIT_STORAGE"
        " is set; unset: no limit",
        "",
        "rates",
        rates,
    )
    rate_limit_storage: str = _setting(
        "Redis or Valkey server that counts RATE_LIMIT for all processes and instances; unset:"
        " each process counts for itself",
        "",
        "URL",
        rate_storage,
        secret=True,
    )
    trusted_proxies: int = _whole(
        "number of proxies in front of the API that add to X-Forwarded-For; on App Service 1",
        "0",
        "proxies",
        0,
        10,
    )
    read_scale_out: tuple[str, ...] = _setting(
        "databases whose connection string also reaches a read-only replica, by"
        " ApplicationIntent=ReadOnly (Azure SQL, availability groups), such as ERP,WWIF",
        "",
        "databases",
        words(),
    )
    replica_wait_seconds: float = _seconds(
        "longest wait of a read with a Consistency-Token for a replica to have that write; then"
        " the primary serves it",
        "0.5",
    )
    replica_max_lag_seconds: float = _seconds(
        "lag above which a replica serves no reads", "10", least=0.1
    )
    exposed_schemas: tuple[tuple[str, str], ...] = _setting(
        "schemas whose procedures become routes, such as api,ERP:sales; ERP:sales is the schema"
        " sales of the database ERP only",
        "api",
        "schemas",
        schemas,
    )
    catalog_seconds: float = _seconds(
        "interval between checks for changed procedures", "10", least=0.1
    )
    max_stored_response_bytes: int = _whole(
        "largest response stored for an Idempotency-Key; longer ones are not replayed",
        "1048576",
        "bytes",
        0,
        1 << 30,
    )
    mcp: bool = _setting(
        "tools for agents at /mcp, by the Model Context Protocol", "on", "on or off", yes_or_no
    )
    mcp_result_bytes: int = _whole(
        "longest result of a tool; a longer one is cut between rows",
        "50000",
        "bytes",
        1000,
        1 << 27,
    )
    procedure_messages: bool = _setting(
        "whether clients get the message of an error that a procedure raises (422); it may hold"
        " data",
        "no",
        "yes or no",
        yes_or_no,
    )
    auth: tuple[str, ...] | None = _setting(
        "authentication: keys, oidc, easyauth (joined by commas), loopback (this machine only)"
        " or none (open to all)",
        NO_CHOICE,
        "methods",
        authentication_methods,
    )
    auth_anonymous: frozenset[str] = _setting(
        "route groups open without a credential: read, write, operate",
        "",
        "route groups",
        anonymous_groups,
    )
    auth_roles: Mapping[str, frozenset[str]] = _setting(
        "route groups granted to each role or scope, such as Customers.Edit:read+write",
        "read:read,write:write,operate:operate",
        "roles",
        read_roles,
    )
    api_keys: tuple[ApiKey, ...] = _setting(
        "API keys as name:group+group:digest; `flask auth new-key NAME` makes one",
        "",
        "keys",
        read_keys,
        secret=True,
    )
    oidc_issuer: str = _setting("issuer of accepted tokens, equal to iss", "", "URL", url)
    oidc_audience: tuple[str, ...] = _setting(
        "accepted audiences of tokens (aud)", "", "audiences", words()
    )
    oidc_algorithms: tuple[str, ...] = _setting(
        "accepted signature algorithms of tokens: RS256, ES256",
        "RS256",
        "algorithms",
        words(*ALGORITHMS),
    )
    oidc_scopes: tuple[str, ...] = _setting(
        "scopes that clients of /mcp request of the issuer, such as api://my-api/read",
        "",
        "scopes",
        words(),
    )
    oidc_jwks_url: str = _setting(
        "address of the issuer's signing keys; unset: taken from its discovery document",
        "",
        "URL",
        url,
    )
    idempotency_key_hours: int = _whole("retention of idempotency keys", "24", "hours", 1, 8760)
    require_if_match: bool = _setting(
        "whether a change without If-Match gets 428", "no", "yes or no", yes_or_no
    )
    taxi_cache_seconds: float = _seconds("how long a trips response may be reused; 0 disables", "0")
    cors_origins: tuple[str, ...] = _setting(
        "origins whose scripts may call the API, such as https://app.example.com; joined by"
        " commas, * for all",
        "",
        "origins",
        origins,
    )
    csv_formulas: str = _setting(
        "treatment of CSV texts that spreadsheets run as formulas; escape prefixes an apostrophe",
        "keep",
        "keep or escape",
        one_of("keep", "escape"),
    )
    log_format: str = _setting(
        "format of the log; auto: text on a terminal, else json",
        "auto",
        "auto, text or json",
        one_of("auto", "text", "json"),
    )
    slow_call_seconds: float = _seconds("duration of a call after which a warning is logged", "1")
    server_timing: str = _setting(
        "responses with a Server-Timing header; asked: those to Prefer: server-timing",
        "asked",
        "asked, always or never",
        one_of("asked", "always", "never"),
    )
    traces_to: str = _setting(
        "destination of traces: an OTLP endpoint or an Application Insights; unset: no traces",
        "",
        "URL or connection string",
        str,
        secret=True,
    )
    targets: Mapping[str, Target]
    on_app_service: bool
    # From WEBSITE_AUTH_ENABLED: only then does the platform remove forged identity headers.
    easyauth_enabled: bool
    identity: Mapping[str, str]
    warnings: tuple[str, ...] = ()  # sentences about variables without effect

    @property
    def embedded(self) -> bool:
        """Whether the embedded default serves: no connection string is set."""
        return not self.targets

    def source(self, name: str, *, with_place: bool = True) -> str:
        """The source of a database: EMBEDDED_SOURCE, "not configured", or its variable.

        with_place: put "server/database from" in front of the variable.
        """
        if self.embedded:
            return EMBEDDED_SOURCE
        target = self.targets.get(name)
        if target is None:
            return "not configured"
        return f"{target.place} from {target.variable}" if with_place else target.variable

    @property
    def serves_sample(self) -> bool:
        """Whether the sample's routes are served: by one of its databases, or the embedded one."""
        return self.embedded or any(name in self.targets for name in TARGETS)

    @property
    def database_names(self) -> tuple[str, ...]:
        """The sample's two databases, if it is served, configured or not; then all others."""
        sample = TARGETS if self.serves_sample else ()
        return tuple(dict.fromkeys([*sample, *self.targets]))

    def schemas_of(self, database: str) -> tuple[str, ...]:
        """The schemas of `database` whose procedures are exposed."""
        found = (schema for name, schema in self.exposed_schemas if name in ("", database))
        return tuple(dict.fromkeys(found))


SETTINGS = tuple(Setting(f.name.upper(), **f.metadata) for f in fields(Settings) if f.metadata)
