"""Settings: the only reader of environment variables.

Each setting is one field of Settings. scripts/settings_docs.py writes docs/settings.md
and .env.example from those fields. An invalid value stops the start with one sentence.
"""

import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

from authentication.api_keys import ApiKey, read_keys
from authentication.documents import is_safe
from authentication.exposure import refusal
from authentication.principal import read_groups, read_roles
from authentication.schemes import ALGORITHMS, METHODS
from authentication.sites import ANY, normal_origin
from database.connect.connection_string import ConnectionString, ConnectionStringError
from database.connect.translation import reading_intent

ROOT = Path(__file__).resolve().parent
# App Service puts the connection string's type in front of its name. SQLAZURE and SQL are T-SQL,
# POSTGRESQL is PostgreSQL; CUSTOM can be either, so its text decides.
PREFIXES = ("SQLAZURECONNSTR_", "SQLCONNSTR_", "CUSTOMCONNSTR_", "POSTGRESQLCONNSTR_")
# The databases of the sample; any other name behind a prefix is an adopter's.
TARGETS = ("WWIF", "TAXI")
DATABASE_NAME = re.compile(r"[A-Za-z0-9_]+")
# The ending of a variable that holds the connection strings of a database's replicas, joined by |.
# A | within a value, such as a password, is not followed by a keyword.
REPLICA = "_REPLICA"
_NEXT_REPLICA = re.compile(r"\s*\|\s*(?=[A-Za-z][A-Za-z_ ]*=|[a-z][a-z0-9+]*://)")
# The names that the package limits has for Redis, and for Valkey, which has the same protocol.
_STORAGE = re.compile(r"(redis|rediss|redis\+unix|valkey|valkeys|valkey\+unix)://\S+")
# The default of AUTH: suits a developer's machine, and is refused anywhere else.
NO_CHOICE = "loopback"
EMBEDDED_SOURCE = "embedded sample with invented data"
YES = ("yes", "true", "on", "1")
NO = ("no", "false", "off", "0")
# The longest allowed duration in seconds.
DAY = 86_400.0


class SettingsError(ValueError):
    """A setting is invalid; the message is one sentence with the value and the remedy."""


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


def _number(least: float, most: float, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    wanted = "a whole number" if kind is int else "a number"

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"{wanted} of {{unit}} from {least:.12g} to {most:.12g}")
        return value

    return read


def seconds(least: float = 0.0) -> Callable[[str], float]:
    return _number(least, DAY, float)


def parts_of(text: str) -> list[str]:
    """The parts of a comma-separated list, without blanks and empty parts."""
    return [part.strip() for part in text.split(",") if part.strip()]


def one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return read


def words(*allowed: str) -> Callable[[str], tuple[str, ...]]:
    """A comma-separated list; of `allowed` words only, if any are given."""

    def read(text: str) -> tuple[str, ...]:
        found = tuple(parts_of(text))
        if allowed and not set(found) <= set(allowed):
            raise ValueError(f"a list of {', '.join(allowed)}, joined by commas")
        return found

    return read


def origins(text: str) -> tuple[str, ...]:
    """Origins as browsers spell them, each to be matched whole; * stands for all origins."""
    found = []
    for origin in parts_of(text):
        try:
            found.append(ANY if origin == ANY else normal_origin(origin))
        except ValueError:
            raise ValueError(
                f"a list of origins joined by commas; {origin!r} is not an origin: write scheme,"
                " host and port, without a path, and no * within a name"
            ) from None
    return tuple(found)


def yes_or_no(text: str) -> bool:
    if text.lower() not in YES + NO:
        raise ValueError(f"yes or no (or {', '.join(YES[1:] + NO[1:])})")
    return text.lower() in YES


def authentication_methods(text: str) -> tuple[str, ...] | None:
    """The methods of AUTH. () means no authentication; None means that AUTH is not set, which
    admits requests from this machine only."""
    names = tuple(parts_of(text.lower()))
    if names in ((), (NO_CHOICE,)):
        return None
    if names == ("none",):
        return ()
    if not set(names) <= set(METHODS):
        raise ValueError(f"{NO_CHOICE}, none, or a list of {', '.join(METHODS)}, joined by commas")
    return names


def _url(text: str) -> str:
    if text and not is_safe(text):
        raise ValueError("a URL with https (http is for this machine only)")
    return text


def _rates(text: str) -> str:
    if not re.fullmatch(r"(\d+ per (second|minute|hour|day)(; ?(?=\d)|$))*", text):
        raise ValueError("a rate such as 100 per minute, or several joined by ;")
    return text


def _rate_storage(text: str) -> str:
    try:
        valid = not text or (_STORAGE.fullmatch(text) and urlsplit(text).port != 0)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(
            "the URL of a Redis or Valkey server, such as redis://:password@host:6379/0, or"
            " rediss://… with TLS"
        )
    # One client serves both.
    return re.sub("^valkey", "redis", text)


def route_seconds(text: str) -> dict[str, float]:
    found = {}
    for entry in parts_of(text):
        route, _, number = entry.rpartition("=")
        try:
            found[route.strip()] = seconds(0.05)(number)
        except ValueError:
            route = ""
        if not route.startswith("/"):
            raise ValueError("a list of /route=seconds, joined by commas")
    return found


def _schemas(text: str) -> tuple[tuple[str, str], ...]:
    """(database, schema) of each entry; the database is "" for a schema of every database."""
    found = []
    for entry in parts_of(text):
        database, _, schema = entry.rpartition(":")
        if not schema.strip() or (":" in entry and not DATABASE_NAME.fullmatch(database.strip())):
            raise ValueError("a list of schema or database:schema, joined by commas")
        found.append((database.strip(), schema.strip()))
    return tuple(found)


def _anonymous_groups(text: str) -> frozenset[str]:
    return read_groups(text.replace(",", "+"))


def _folder(text: str) -> Path:
    return ROOT / text


@dataclass(frozen=True)
class Target:
    """A configured database: its name, the variable it comes from, and its connection string."""

    name: str
    variable: str
    connection_string: str
    driver_family: str  # "sqlserver" or "postgresql": which driver, not which engine
    replicas: "tuple[Target, ...]" = ()

    @property
    def place(self) -> str:
        """ "server/database", with "?" for what the connection string lacks; never a secret."""
        try:
            given = ConnectionString(self.connection_string)
        except ConnectionStringError:
            return "?"  # making the ConnectionManager reports the fault
        server = given.get("SERVER", "DATA SOURCE", "ADDRESS", "ADDR") or given.get("DSN") or "?"
        return f"{server}/{given.get('DATABASE', 'INITIAL CATALOG') or '?'}"

    def __repr__(self) -> str:
        return f"<Target {self.name} from {self.variable}>"


def _setting(
    help: str, default: str, unit: str, read: Callable[[str], Any], *, secret: bool = False
) -> Any:
    """A field of Settings that is read from the variable of its name in capitals."""
    declared = {"help": help, "default": default, "unit": unit, "read": read, "secret": secret}
    return field(repr=not secret, metadata=declared)


def _whole(help: str, default: str, unit: str, least: int, most: int) -> Any:
    return _setting(help, default, unit, _number(least, most, int))


def _seconds(help: str, default: str, *, least: float = 0.0) -> Any:
    return _setting(help, default, "seconds", seconds(least))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, read and checked. `targets` holds only databases with a connection string."""

    local_dir: Path = _setting(  # noqa: RUF009 (a dataclass field)
        "folder for the data of the embedded database", ".local", "folder", _folder
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
        _rates,
    )
    rate_limit_storage: str = _setting(
        "Redis or Valkey server that counts RATE_LIMIT for all processes and instances; unset:"
        " each process counts for itself",
        "",
        "URL",
        _rate_storage,
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
        _schemas,
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
        _anonymous_groups,
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
    oidc_issuer: str = _setting("issuer of accepted tokens, equal to iss", "", "URL", _url)
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
        _url,
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


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environ`; by default the environment, then the file `.env`.

    Raises SettingsError with one sentence.
    """
    warnings: list[str] = []
    if environ is None:
        dotenv = _dotenv()
        warnings += misspelt_settings(dotenv)
        environ = {**dotenv, **os.environ}
        # azure-identity reads the process's environment, not these settings.
        for name in environ:
            if name.startswith(("AZURE_", "IDENTITY_")):
                os.environ.setdefault(name, environ[name])
    values = {}
    for declared in SETTINGS:
        text = environ.get(declared.name, "").strip() or declared.default
        try:
            values[declared.attribute] = declared.read(text)
        except ValueError as error:
            given = declared.name if declared.secret else f"{declared.name}={text}"
            example = f", such as {declared.default}" if declared.default else ""
            raise SettingsError(
                f"{given} is wrong: it must be {str(error).format(unit=declared.unit)}{example}."
            ) from None
    settings = Settings(
        **values,
        warnings=(*warnings, *unused_connection_strings(environ)),
        targets=_targets(environ, values["read_scale_out"]),
        on_app_service=bool(environ.get("WEBSITE_SITE_NAME")),
        easyauth_enabled=bool(environ.get("WEBSITE_SITE_NAME"))
        and environ.get("WEBSITE_AUTH_ENABLED", "").lower() == "true",
        identity={
            k: v
            for k, v in environ.items()
            if k == "TOKEN" or k.startswith(("AZURE_", "IDENTITY_", "MSI_"))
        },
    )
    _check(settings)
    return settings


def check_authentication(settings: Settings) -> None:
    """Raises SettingsError if a method of AUTH lacks a setting that it requires."""
    methods = settings.auth or ()
    if "keys" in methods and not settings.api_keys:
        raise SettingsError("AUTH=keys needs API_KEYS: flask auth new-key NAME makes an entry.")
    if "oidc" in methods and not (settings.oidc_issuer and settings.oidc_audience):
        raise SettingsError("AUTH=oidc needs OIDC_ISSUER and OIDC_AUDIENCE.")
    if "oidc" in methods and not settings.oidc_algorithms:
        raise SettingsError("AUTH=oidc needs OIDC_ALGORITHMS, such as RS256.")
    if "easyauth" in methods and not settings.easyauth_enabled:
        raise SettingsError(
            "AUTH=easyauth works only on App Service with its authentication switched on:"
            " anywhere else any client could forge the headers."
        )
    if settings.auth is None and settings.on_app_service:
        raise SettingsError(refusal("App Service"))


def unusable_local_dir(settings: Settings, error: OSError) -> SettingsError:
    """The error to raise when LOCAL_DIR caused `error`."""
    return SettingsError(
        f"LOCAL_DIR={settings.local_dir} can not be written ({error.strerror}):"
        " set LOCAL_DIR to a folder that this account may write."
    )


def variable_names(name: str) -> list[str]:
    return [prefix + name for prefix in PREFIXES]


def unused_connection_strings(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like a connection string but has no prefix, and for
    each database whose name is close to one of the sample's."""
    used = {variable for name in _names(environ) for variable in variable_names(name)}
    used |= {variable + REPLICA for variable in used}
    return [
        f"{variable} names the database {name}; the sample's is {near[0]}."
        for name in _names(environ)
        if name not in TARGETS and (near := difflib.get_close_matches(name.upper(), TARGETS, n=1))
        for variable in variable_names(name)
        if environ.get(variable)
    ] + [
        f"{name} is set and not used: a connection string is read from {_meant(name, text)}."
        for name, text in environ.items()
        if text.strip()
        and name not in used
        and not name.startswith("TEST_")
        and (_STRING_NAME.fullmatch(name) or _STRING_VALUE.search(text))
    ]


# Usual names of variables that hold a connection string, in any case.
_STRING_NAME = re.compile(rf"(?i)[a-z]+connstr_.+|{'|'.join(TARGETS)}|database_url")
_STRING_VALUE = re.compile(r"(?i)(?:^|;)\s*(?:server|data source)\s*=|^(?:postgres\w*|mssql)[+:]")


def _meant(name: str, text: str) -> str:
    """The variable closest to `name`; else the one that fits the engine and content of `text`."""
    prefix, _, rest = name.upper().rpartition("CONNSTR_")
    near = difflib.get_close_matches(rest, TARGETS, n=1, cutoff=0.5)
    target = near[0] if near else "TAXI" if re.search("(?i)taxi|-ondemand", name + text) else "WWIF"
    prefix = f"{prefix}CONNSTR_"
    if prefix not in PREFIXES:
        prefix = "POSTGRESQLCONNSTR_" if "postgres" in text.lower() else "SQLAZURECONNSTR_"
    return prefix + target


def misspelt_settings(names: Iterable[str]) -> list[str]:
    """A sentence for each of `names`, taken from the file .env, that is close to a setting."""
    existing = [s.name for s in SETTINGS] + ["TOKEN"]
    near = {
        name: difflib.get_close_matches(name.upper(), existing, n=1, cutoff=0.8)
        for name in names
        if name not in existing
    }
    return [
        f"{name} in .env is not a setting: did you mean {found[0]}?"
        for name, found in near.items()
        if found
    ]


def _dotenv() -> dict[str, str]:
    return {k: v for k, v in dotenv_values(ROOT / ".env").items() if v is not None}


def _names(environ: Mapping[str, str]) -> list[str]:
    """The sample's databases, then every other name that follows a prefix."""
    found = set()
    for variable in environ:
        prefix = next((prefix for prefix in PREFIXES if variable.startswith(prefix)), None)
        if prefix is None or variable.endswith(REPLICA) or not environ[variable].strip():
            continue
        name = variable.removeprefix(prefix)
        if not DATABASE_NAME.fullmatch(name):
            raise SettingsError(
                f"{variable} names a database {name!r}: use letters, digits and underscores."
            )
        found.add(name)
    return [*TARGETS, *sorted(found.difference(TARGETS))]


def _targets(environ: Mapping[str, str], scaled_out: Iterable[str]) -> dict[str, Target]:
    """The configured databases by name, each with its replicas."""
    targets = {name: found for name in _names(environ) if (found := _target(environ, name))}
    for variable, text in environ.items():
        prefix = next((p for p in PREFIXES if variable.startswith(p)), None)
        if prefix is None or not variable.endswith(REPLICA) or not text.strip():
            continue
        name = variable.removeprefix(prefix).removesuffix(REPLICA)
        target = targets.get(name)
        if target is None:
            raise SettingsError(
                f"{variable} is set, but no connection string of {name}, whose replica it names:"
                f" set {prefix}{name} too."
            )
        if target.replicas:
            others = target.replicas[0].variable
            raise SettingsError(
                f"Set one of {others} and {variable}, not both; join several replicas by |."
            )
        family = _family(variable, text)
        if family != target.driver_family:
            raise SettingsError(
                f"{variable} is for {family}, and {target.variable} for {target.driver_family}:"
                " a replica has the engine of its primary."
            )
        texts = _NEXT_REPLICA.split(text.strip())
        replicas = tuple(
            Target(f"{name}-replica-{number}", variable, one, family)
            for number, one in enumerate(texts, 1)
        )
        targets[name] = replace(target, replicas=replicas)
    for name in scaled_out:
        targets[name] = _scaled_out(targets, name)
    return targets


def _scaled_out(targets: Mapping[str, Target], name: str) -> Target:
    """The database `name` with its own connection string, for reading, as one more replica."""
    target = targets.get(name)
    if target is None or target.driver_family != "sqlserver":
        usable = ", ".join(n for n, t in targets.items() if t.driver_family == "sqlserver")
        raise SettingsError(
            f"READ_SCALE_OUT names {name}, which is no SQL Server database of this API:"
            f" use {usable or 'none'}; the replica of a PostgreSQL is a connection string,"
            f" POSTGRESQLCONNSTR_<name>{REPLICA}."
        )
    try:
        text = reading_intent(target.connection_string)
    except ConnectionStringError:
        text = target.connection_string  # making the ConnectionManager reports the fault
    number = len(target.replicas) + 1
    one = Target(f"{name}-replica-{number}", "READ_SCALE_OUT", text, "sqlserver")
    return replace(target, replicas=(*target.replicas, one))


def _target(environ: Mapping[str, str], name: str) -> Target | None:
    named = [v for v in variable_names(name) if environ.get(v, "").strip()]
    if not named:
        return None
    if len(named) > 1:
        raise SettingsError(f"Set one of {' and '.join(named)}, not both: they name {name} twice.")
    text = environ[named[0]].strip()
    return Target(name, named[0], text, _family(named[0], text))


def _family(variable: str, text: str) -> str:
    postgresql = variable.startswith("POSTGRESQL")
    if variable.startswith("CUSTOM"):
        postgresql = "postgres" in text.lower() or "psqlodbc" in text.lower()
    return "postgresql" if postgresql else "sqlserver"


def _check(settings: Settings) -> None:
    if settings.pool_min_size > settings.pool_max_size:
        raise SettingsError("POOL_MIN_SIZE must not be greater than POOL_MAX_SIZE.")
    if settings.on_app_service and not settings.targets:
        raise SettingsError(
            "Set the connection string WWIF or TAXI of this web app (type SQLAzure):"
            " on App Service there is no embedded database."
        )
