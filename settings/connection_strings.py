"""The variables of connection strings, and the databases that they name."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from database.connect.connection_string import ConnectionString, ConnectionStringError
from database.connect.translation import reading_intent
from settings.errors import SettingsError

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
# Usual names of variables that hold a connection string, in any case.
_STRING_NAME = re.compile(rf"(?i)[a-z]+connstr_.+|{'|'.join(TARGETS)}|database_url")
_STRING_VALUE = re.compile(r"(?i)(?:^|;)\s*(?:server|data source)\s*=|^(?:postgres\w*|mssql)[+:]")


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


def _meant(name: str, text: str) -> str:
    """The variable closest to `name`; else the one that fits the engine and content of `text`."""
    prefix, _, rest = name.upper().rpartition("CONNSTR_")
    near = difflib.get_close_matches(rest, TARGETS, n=1, cutoff=0.5)
    target = near[0] if near else "TAXI" if re.search("(?i)taxi|-ondemand", name + text) else "WWIF"
    prefix = f"{prefix}CONNSTR_"
    if prefix not in PREFIXES:
        prefix = "POSTGRESQLCONNSTR_" if "postgres" in text.lower() else "SQLAZURECONNSTR_"
    return prefix + target


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


def read_targets(environ: Mapping[str, str], scaled_out: Iterable[str]) -> dict[str, Target]:
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
