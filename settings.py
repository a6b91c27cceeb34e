"""The only reader of environment variables. A wrong one stops the start with a sentence."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent
# App Service prefixes a connection string by the type chosen for it; these two speak T-SQL, the
# third says nothing, the fourth speaks PostgreSQL.
PREFIXES = ("SQLAZURECONNSTR_", "SQLCONNSTR_", "CUSTOMCONNSTR_", "POSTGRESQLCONNSTR_")
TARGETS = ("WWIF", "TAXI")


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

    @property
    def attribute(self) -> str:
        return self.name.lower()


def _number(least: float, most: float, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = kind(text)
        if not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return value

    return read


def integer(least: int, most: int) -> Callable[[str], int]:
    return _number(least, most, int)


def seconds(least: float = 0.0, most: float = 86_400.0) -> Callable[[str], float]:
    return _number(least, most, float)


def yes_or_no(text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise ValueError("a yes or a no")
    return text.lower() == "yes"


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
    Setting("LOGIN_TIMEOUT_SECONDS", "15", "seconds", seconds(1), "longest wait for a connect"),
    Setting(
        "REQUEST_DEADLINE_SECONDS", "30", "seconds", seconds(0.05), "for all that a request does"
    ),
    Setting(
        "MAX_REQUEST_BYTES", "1048576", "bytes", integer(1024, 1 << 30), "largest request body"
    ),
    Setting("IDEMPOTENCY_KEY_HOURS", "24", "hours", integer(1, 8760), "a write's key is known for"),
    Setting("REQUIRE_IF_MATCH", "no", "yes or no", yes_or_no, "428 for a change without If-Match"),
    Setting(
        "TAXI_CACHE_SECONDS", "0", "seconds", seconds(), "age up to which trips are told again"
    ),
)


@dataclass(frozen=True)
class Target:
    """A configured database: WWIF or TAXI, the variable that named it, and what it says."""

    name: str
    variable: str
    connection_string: str
    driver_family: str  # "sqlserver" or "postgresql": which driver, not which engine

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
    idempotency_key_hours: int
    require_if_match: bool
    taxi_cache_seconds: float
    targets: Mapping[str, Target]
    on_app_service: bool
    identity: Mapping[str, str]

    @property
    def embedded(self) -> bool:
        """Whether the embedded default serves: nothing is configured."""
        return not self.targets


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environ`, by default the process's environment over the file `.env`.

    Raises SettingsError with one sentence.
    """
    if environ is None:
        environ = {**_dotenv(), **os.environ}
    values = {}
    for setting in SETTINGS:
        text = environ.get(setting.name, "").strip() or setting.default
        try:
            values[setting.attribute] = setting.read(text)
        except ValueError as error:
            wanted = str(error) if str(error).startswith("a ") else f"a number of {setting.unit}"
            raise SettingsError(
                f"{setting.name} must be {wanted} ({setting.help}), such as {setting.default}."
            ) from None
    settings = Settings(
        **values,
        targets={name: found for name in TARGETS if (found := _target(environ, name))},
        on_app_service=bool(environ.get("WEBSITE_SITE_NAME")),
        identity={
            k: v
            for k, v in environ.items()
            if k == "TOKEN" or k.startswith(("AZURE_", "IDENTITY_", "MSI_"))
        },
    )
    _check(settings)
    return settings


def variable_names(name: str) -> list[str]:
    return [prefix + name for prefix in PREFIXES]


def _dotenv() -> dict[str, str]:
    return {k: v for k, v in dotenv_values(ROOT / ".env").items() if v is not None}


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
