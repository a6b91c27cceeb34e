"""The only reader of environment variables. A wrong one stops the start with a sentence."""

import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from authentication.api_keys import ApiKey, read_keys
from authentication.documents import is_safe
from authentication.exposure import refusal
from authentication.principal import read_groups, read_roles
from authentication.schemes import ALGORITHMS, METHODS
from authentication.sites import ANY, normal_origin
from database.connect.connection_string import ConnectionString, ConnectionStringError

ROOT = Path(__file__).resolve().parent
# App Service prefixes a connection string by the type chosen for it; these two speak T-SQL, the
# third says nothing, the fourth speaks PostgreSQL.
PREFIXES = ("SQLAZURECONNSTR_", "SQLCONNSTR_", "CUSTOMCONNSTR_", "POSTGRESQLCONNSTR_")
# The databases of the sample; any other name behind a prefix is an adopter's.
TARGETS = ("WWIF", "TAXI")
DATABASE_NAME = re.compile(r"[A-Za-z0-9_]+")
# Behind a prefix and a database's name: the connection string of its replica.
REPLICA = "_REPLICA"
# The value of AUTH that is right on a developer's machine and refused anywhere else.
NO_CHOICE = "loopback"
EMBEDDED_SOURCE = "embedded sample with invented data"
YES = ("yes", "true", "on", "1")
NO = ("no", "false", "off", "0")


class SettingsError(ValueError):
    """A setting is wrong; the message is one sentence that says what to set."""


@dataclass(frozen=True)
class Setting:
    """One setting: its environment name, default (as text), unit, reader and one line of help."""

    name: str
    default: str
    unit: str
    read: Callable[[str], Any]
    help: str
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


def integer(least: int, most: int) -> Callable[[str], int]:
    return _number(least, most, int)


def seconds(least: float = 0.0, most: float = 86_400.0) -> Callable[[str], float]:
    return _number(least, most, float)


def one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"a word out of {', '.join(words)}")
        return text

    return read


def origins(text: str) -> tuple[str, ...]:
    """As browsers spell them, each to be matched whole; * alone is all."""
    found = []
    for origin in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ANY if origin == ANY else normal_origin(origin))
        except ValueError:
            raise ValueError(
                f"a list of origins joined by commas; {origin!r} is none: write scheme, host and"
                " port, without a path, and no * within a name"
            ) from None
    return tuple(found)


def yes_or_no(text: str) -> bool:
    if text.lower() not in YES + NO:
        raise ValueError(f"a yes or a no (or {', '.join(YES[1:] + NO[1:])})")
    return text.lower() in YES


def authentication_methods(text: str) -> tuple[str, ...] | None:
    """() says that everybody may call; None that nobody chose: everybody on this machine."""
    names = tuple(part.strip() for part in text.lower().split(",") if part.strip())
    if names in ((), (NO_CHOICE,)):
        return None
    if names == ("none",):
        return ()
    if not set(names) <= set(METHODS):
        raise ValueError(
            f"a word: {NO_CHOICE}, none, or out of {', '.join(METHODS)}, joined by commas"
        )
    return names


def words(*known: str) -> Callable[[str], tuple[str, ...]]:
    """Words joined by commas; out of `known`, if there are any."""

    def read(text: str) -> tuple[str, ...]:
        found = tuple(part.strip() for part in text.split(",") if part.strip())
        if known and not set(found) <= set(known):
            raise ValueError(f"a list out of {', '.join(known)}, joined by commas")
        return found

    return read


def _url(text: str) -> str:
    if text and not is_safe(text):
        raise ValueError("a URL with https (http is for this machine only)")
    return text


def _rates(text: str) -> str:
    if not re.fullmatch(r"(\d+ per (second|minute|hour|day)(; ?(?=\d)|$))*", text):
        raise ValueError("a rate such as 100 per minute, or several joined by ;")
    return text


def route_seconds(text: str) -> dict[str, float]:
    found = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        route, _, number = entry.rpartition("=")
        try:
            found[route.strip()] = seconds(0.05)(number)
        except ValueError:
            route = ""
        if not route.startswith("/"):
            raise ValueError("a list of /route=seconds, joined by commas")
    return found


def _schemas(text: str) -> tuple[tuple[str, str], ...]:
    """(database, schema) of each entry; the database is "" for a schema of every one."""
    found = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        database, _, schema = entry.rpartition(":")
        if not schema.strip() or (":" in entry and not DATABASE_NAME.fullmatch(database.strip())):
            raise ValueError("a list of schema or database:schema, joined by commas")
        found.append((database.strip(), schema.strip()))
    return tuple(found)


def _folder(text: str) -> Path:
    return ROOT / text


SETTINGS = (
    Setting("LOCAL_DIR", ".local", "folder", _folder, "where the embedded default keeps its data"),
    Setting("POOL_MIN_SIZE", "0", "connections", integer(0, 1000), "kept open when idle"),
    Setting("POOL_MAX_SIZE", "8", "connections", integer(1, 1000), "of one process to a database"),
    Setting("POOL_MAX_WAITING", "64", "requests", integer(0, 100_000), "queued; more answer 503"),
    Setting(
        "POOL_ACQUIRE_TIMEOUT_SECONDS", "10", "seconds", seconds(0.01), "longest wait in the queue"
    ),
    Setting(
        "POOL_MAX_LIFETIME_SECONDS", "1800", "seconds", seconds(1), "age at which one is replaced"
    ),
    Setting("POOL_MAX_IDLE_SECONDS", "300", "seconds", seconds(1), "idle time before it is closed"),
    Setting("POOL_LEAK_SECONDS", "0", "seconds", seconds(), "checkout worth a warning; 0 is never"),
    Setting("LOGIN_TIMEOUT_SECONDS", "30", "seconds", seconds(1), "longest wait for a connect"),
    Setting(
        "REQUEST_DEADLINE_SECONDS", "30", "seconds", seconds(0.05), "for all that a request does"
    ),
    Setting(
        "MAX_REQUEST_BYTES", "1048576", "bytes", integer(1024, 1 << 30), "largest request body"
    ),
    Setting("HEAD_SECONDS", "10", "seconds", seconds(0.05), "longest wait for a request's head"),
    Setting("BODY_SECONDS", "10", "seconds", seconds(0.05), "longest wait for a request body"),
    Setting(
        *("STALL_SECONDS", "30", "seconds", seconds(0.05)),
        "longest wait for a client that takes nothing of a response",
    ),
    Setting(
        *("ROUTE_DEADLINES", "", "routes", route_seconds),
        "the deadline of a route, such as /taxidata=60,/customers=5; for others the one above",
    ),
    Setting(
        "MAX_STREAMS", "6", "streams", integer(0, 1000), "of one process at a time; 0 is no limit"
    ),
    Setting(
        *("RATE_LIMIT", "", "rates", _rates),
        "of a client to one process, such as 100 per minute; none if unset",
    ),
    Setting(
        *("TRUSTED_PROXIES", "0", "proxies", integer(0, 10)),
        "in front of the API, each of which adds to X-Forwarded-For; on App Service 1",
    ),
    Setting(
        *("EXPOSED_SCHEMAS", "api", "schemas", _schemas),
        "schemas whose procedures become routes, such as api,ERP:sales; ERP:sales is of ERP only",
    ),
    Setting(
        *("CATALOG_SECONDS", "10", "seconds", seconds(0.1)),
        "interval between two looks at the catalog for changed procedures",
    ),
    Setting(
        *("MAX_STORED_RESPONSE_BYTES", "1048576", "bytes", integer(0, 1 << 30)),
        "largest response stored with an Idempotency-Key; a longer one is not repeated",
    ),
    Setting(
        *("PROCEDURE_MESSAGES", "no", "yes or no", yes_or_no),
        "show clients the message of an error that a procedure raises (422); it may hold data",
    ),
    Setting(
        *("AUTH", NO_CHOICE, "methods", authentication_methods),
        "who may call: loopback (this machine), none (everybody), or of keys, oidc, easyauth",
    ),
    Setting(
        *("AUTH_ANONYMOUS", "", "route groups", lambda text: read_groups(text.replace(",", "+"))),
        "of read, write and operate: open without a credential",
    ),
    Setting(
        *("AUTH_ROLES", "read:read,write:write,operate:operate", "roles", read_roles),
        "the groups that a role or scope opens, such as Customers.Edit:read+write",
    ),
    Setting(
        *("API_KEYS", "", "keys", read_keys),
        "name:group+group:digest of each key; flask auth new-key NAME makes one",
        secret=True,
    ),
    Setting(*("OIDC_ISSUER", "", "URL", _url), "whose tokens are taken, as they say in iss"),
    Setting(*("OIDC_AUDIENCE", "", "audiences", words()), "one of which a token must be for"),
    Setting(
        *("OIDC_ALGORITHMS", "RS256", "algorithms", words(*ALGORITHMS)),
        "that tokens may be signed with: RS256, ES256",
    ),
    Setting(
        *("OIDC_JWKS_URL", "", "URL", _url),
        "where the issuer's keys are; unset: where its discovery document says",
    ),
    Setting("IDEMPOTENCY_KEY_HOURS", "24", "hours", integer(1, 8760), "a write's key is known for"),
    Setting("REQUIRE_IF_MATCH", "no", "yes or no", yes_or_no, "428 for a change without If-Match"),
    Setting(
        "TAXI_CACHE_SECONDS", "0", "seconds", seconds(), "age up to which trips are told again"
    ),
    Setting(
        *("CORS_ORIGINS", "", "origins", origins),
        "whose scripts may call, such as https://app.example.com; joined by commas; * is all",
    ),
    Setting(
        *("CSV_FORMULAS", "keep", "keep or escape", one_of("keep", "escape")),
        "CSV texts that spreadsheets take for formulas; escape puts an apostrophe before each",
    ),
    Setting(
        *("LOG_FORMAT", "auto", "auto, text or json", one_of("auto", "text", "json")),
        "of the log; auto is text on a terminal, else json",
    ),
    Setting("SLOW_CALL_SECONDS", "1", "seconds", seconds(), "a call's time worth a warning"),
    Setting(
        *("SERVER_TIMING", "asked", "asked, always or never", one_of("asked", "always", "never")),
        "when answers carry Server-Timing; asked is by the header Prefer: server-timing",
    ),
    Setting(
        *("TRACES_TO", "", "URL or connection string", str),
        "where traces go: an OTLP endpoint or an Application Insights; nowhere if not set",
        secret=True,
    ),
)


@dataclass(frozen=True)
class Target:
    """A configured database: its name, the variable that names it, and its connection string."""

    name: str
    variable: str
    connection_string: str
    driver_family: str  # "sqlserver" or "postgresql": which driver, not which engine

    @property
    def place(self) -> str:
        """ "server/database", as far as the connection string names them; never a secret."""
        try:
            given = ConnectionString(self.connection_string)
        except ConnectionStringError:
            return "?"  # the start ends with a sentence about it
        server = given.get("SERVER", "DATA SOURCE", "ADDRESS", "ADDR") or given.get("DSN") or "?"
        return f"{server}/{given.get('DATABASE', 'INITIAL CATALOG') or '?'}"

    def __repr__(self) -> str:
        return f"<Target {self.name} from {self.variable}>"


@dataclass(frozen=True)
class Settings:
    """All settings, read and checked. `targets` lacks what no variable names."""

    local_dir: Path
    pool_min_size: int
    pool_max_size: int
    pool_max_waiting: int
    pool_acquire_timeout_seconds: float
    pool_max_lifetime_seconds: float
    pool_max_idle_seconds: float
    pool_leak_seconds: float
    login_timeout_seconds: float
    request_deadline_seconds: float
    max_request_bytes: int
    head_seconds: float
    body_seconds: float
    stall_seconds: float
    route_deadlines: Mapping[str, float]
    max_streams: int
    rate_limit: str
    trusted_proxies: int
    exposed_schemas: tuple[tuple[str, str], ...]
    catalog_seconds: float
    max_stored_response_bytes: int
    procedure_messages: bool
    auth: tuple[str, ...] | None
    auth_anonymous: frozenset[str]
    auth_roles: Mapping[str, frozenset[str]]
    api_keys: tuple[ApiKey, ...]
    oidc_issuer: str
    oidc_audience: tuple[str, ...]
    oidc_algorithms: tuple[str, ...]
    oidc_jwks_url: str
    idempotency_key_hours: int
    require_if_match: bool
    taxi_cache_seconds: float
    cors_origins: tuple[str, ...]
    csv_formulas: str
    log_format: str
    slow_call_seconds: float
    server_timing: str
    traces_to: str = field(repr=False)
    targets: Mapping[str, Target]
    on_app_service: bool
    easyauth_enabled: bool  # the platform says so itself: only then it guards its headers
    identity: Mapping[str, str]
    warnings: tuple[str, ...] = ()  # sentences about variables that have no effect

    @property
    def embedded(self) -> bool:
        """Whether the embedded default serves: nothing is configured."""
        return not self.targets

    def source(self, name: str, *, with_place: bool = True) -> str:
        """What serves a database: EMBEDDED_SOURCE, "not configured", or the variable that names it,
        with_place after "server/database from"."""
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
        """The sample's two where it is served, configured or not; then every other database."""
        sample = TARGETS if self.serves_sample else ()
        return tuple(dict.fromkeys([*sample, *self.targets]))

    def schemas_of(self, database: str) -> tuple[str, ...]:
        """The schemas of `database` whose procedures are exposed."""
        found = (schema for name, schema in self.exposed_schemas if name in ("", database))
        return tuple(dict.fromkeys(found))


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environ`, by default the process's environment over the file `.env`.

    Raises SettingsError with one sentence.
    """
    warnings: list[str] = []
    if environ is None:
        dotenv = _dotenv()
        warnings += misspelt_settings(dotenv)
        environ = {**dotenv, **os.environ}
        # azure-identity reads the process's own environment.
        for name in environ:
            if name.startswith(("AZURE_", "IDENTITY_")):
                os.environ.setdefault(name, environ[name])
    values = {}
    for setting in SETTINGS:
        text = environ.get(setting.name, "").strip() or setting.default
        try:
            values[setting.attribute] = setting.read(text)
        except ValueError as error:
            given = setting.name if setting.secret else f"{setting.name}={text}"
            example = f", such as {setting.default}" if setting.default else ""
            raise SettingsError(
                f"{given} is wrong: it must be {str(error).format(unit=setting.unit)}{example}."
            ) from None
    settings = Settings(
        **values,
        warnings=(*warnings, *unused_connection_strings(environ)),
        targets={name: found for name in _names(environ) if (found := _target(environ, name))},
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
    """Raises SettingsError where AUTH asks for what other settings lack."""
    chosen = settings.auth or ()
    if "keys" in chosen and not settings.api_keys:
        raise SettingsError("AUTH=keys needs API_KEYS: flask auth new-key NAME makes an entry.")
    if "oidc" in chosen and not (settings.oidc_issuer and settings.oidc_audience):
        raise SettingsError("AUTH=oidc needs OIDC_ISSUER and OIDC_AUDIENCE.")
    if "oidc" in chosen and not settings.oidc_algorithms:
        raise SettingsError("AUTH=oidc needs OIDC_ALGORITHMS, such as RS256.")
    if "easyauth" in chosen and not settings.easyauth_enabled:
        raise SettingsError(
            "AUTH=easyauth works on App Service with its authentication switched on only:"
            " anywhere else the headers could be anyone's."
        )
    if settings.auth is None and settings.on_app_service:
        raise SettingsError(refusal("App Service"))


def unusable_local_dir(settings: Settings, error: OSError) -> SettingsError:
    """What to raise where `error` came of LOCAL_DIR."""
    return SettingsError(
        f"LOCAL_DIR={settings.local_dir} can not be written ({error.strerror}):"
        " set LOCAL_DIR to a folder that this account may write."
    )


def variable_names(name: str) -> list[str]:
    return [prefix + name for prefix in PREFIXES]


def unused_connection_strings(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like a connection string and names no database, or
    a database whose name is nearly one of the sample's."""
    used = {variable for name in _names(environ) for variable in variable_names(name)}
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


# A name that App Service or a habit gives to a connection string, in any case.
_STRING_NAME = re.compile(rf"(?i)[a-z]+connstr_.+|{'|'.join(TARGETS)}|database_url")
_STRING_VALUE = re.compile(r"(?i)(?:^|;)\s*(?:server|data source)\s*=|^(?:postgres\w*|mssql)[+:]")


def _meant(name: str, text: str) -> str:
    """The variable nearest to `name`, else to what `text` says of the engine and the content."""
    prefix, _, rest = name.upper().rpartition("CONNSTR_")
    near = difflib.get_close_matches(rest, TARGETS, n=1, cutoff=0.5)
    target = near[0] if near else "TAXI" if re.search("(?i)taxi|-ondemand", name + text) else "WWIF"
    prefix = f"{prefix}CONNSTR_"
    if prefix not in PREFIXES:
        prefix = "POSTGRESQLCONNSTR_" if "postgres" in text.lower() else "SQLAZURECONNSTR_"
    return prefix + target


def misspelt_settings(names: Iterable[str]) -> list[str]:
    """A sentence for each of `names`, of the file .env, that is nearly the name of a setting."""
    known = [s.name for s in SETTINGS] + ["TOKEN"]
    near = {
        name: difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8)
        for name in names
        if name not in known
    }
    return [
        f"{name} in .env is not a setting: did you mean {found[0]}?"
        for name, found in near.items()
        if found
    ]


def _dotenv() -> dict[str, str]:
    return {k: v for k, v in dotenv_values(ROOT / ".env").items() if v is not None}


def _names(environ: Mapping[str, str]) -> list[str]:
    """The sample's databases, then every other name behind a prefix."""
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


def _target(environ: Mapping[str, str], name: str) -> Target | None:
    named = [v for v in variable_names(name) if environ.get(v, "").strip()]
    if not named:
        return None
    if len(named) > 1:
        raise SettingsError(f"Set one of {' and '.join(named)}, not both: they name {name} twice.")
    text = environ[named[0]].strip()
    postgresql = named[0].startswith("POSTGRESQL")
    if named[0].startswith("CUSTOM"):
        postgresql = "postgres" in text.lower() or "psqlodbc" in text.lower()
    return Target(name, named[0], text, "postgresql" if postgresql else "sqlserver")


def _check(settings: Settings) -> None:
    if settings.pool_min_size > settings.pool_max_size:
        raise SettingsError("POOL_MIN_SIZE must not be greater than POOL_MAX_SIZE.")
    if settings.on_app_service and not settings.targets:
        raise SettingsError(
            "Set the connection string WWIF or TAXI of this web app (type SQLAzure):"
            " on App Service there is no embedded database."
        )


_DECLARED = {s.attribute for s in SETTINGS}
assert {f.name for f in fields(Settings)} > _DECLARED, "a setting lacks its field"
