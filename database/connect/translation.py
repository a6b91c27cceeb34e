"""Connection strings of other clients, translated to ODBC: ADO.NET, Npgsql, and URLs.

The Azure portal shows ADO.NET strings; SQLAlchemy and libpq use URLs. A client's settings for its
own pool and timeouts are dropped, because the product has settings for them. A keyword without an
ODBC counterpart is an error, whose message has the keyword but no value.
"""

import re
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from database.connect.connection_string import (
    ConnectionString,
    ConnectionStringError,
    attributes,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# ADO.NET values may be quoted, with the quote doubled inside; ODBC has braces only.
_ADO_ATTRIBUTE = re.compile(
    r"""\s*([^=;]+?)\s*=\s*("(?:[^"]|"")*"|'(?:[^']|'')*'|\{(?:[^}]|\}\})*\}|[^;]*?)\s*(?:;|$)"""
)
_YES = ("true", "yes", "mandatory", "sspi", "1")
_NO = ("false", "no", "optional", "0")
# Only ADO.NET and Npgsql have these keywords, which also decide the rules for quotes.
_ADO_ONLY = _words(
    "datasource initialcatalog userid password integratedsecurity persistsecurityinfo host"
    " multipleactiveresultsets"
)
# Dropped: pool, timeouts and retries are settings of the product.
_OWN = _words(
    "pooling maxpoolsize minpoolsize maximumpoolsize minimumpoolsize connectionlifetime"
    " loadbalancetimeout poolblockingperiod connectionreset enlist connectiontimeout"
    " connecttimeout timeout commandtimeout persistsecurityinfo connectretrycount"
    " connectretryinterval multipleactiveresultsets asynchronousprocessing typesystemversion"
    " connectionidlelifetime connectionpruninginterval includeerrordetail"
)
# The driver's own keywords, except those that the tables below translate.
_ODBC_SQL_SERVER = _words(
    "driver dsn filedsn server addr address database uid pwd trusted_connection encrypt app wsid"
    " trustservercertificate authentication applicationintent multisubnetfailover language"
    " failover_partner hostnameincertificate servercertificate serverspn failoverpartnerspn"
    " columnencryption packetsize keepalive keepaliveinterval ipaddresspreference regional"
    " transparentnetworkipresolution mars_connection longasmax retryexec ansinpw quotedid"
    " attestationurl description network clientcertificate clientkey usefmtonly"
    " getdataextensions vectortypesupport autotranslate concatnullyieldsnull"
)
_SQL_SERVER = {
    "datasource": "SERVER",
    "networkaddress": "SERVER",
    "initialcatalog": "DATABASE",
    "userid": "UID",
    "user": "UID",
    "username": "UID",
    "password": "PWD",
    "applicationname": "APP",
    "workstationid": "WSID",
    "currentlanguage": "Language",
    "failoverpartner": "Failover_Partner",
    "columnencryptionsetting": "ColumnEncryption",
}
_FLAGS = {
    "encrypt": "Encrypt",
    "trustservercertificate": "TrustServerCertificate",
    "multisubnetfailover": "MultiSubnetFailover",
    "trusted_connection": "Trusted_Connection",
    "integratedsecurity": "Trusted_Connection",
}
# ADO.NET's name without blanks: the driver's. "" stands for an access token.
_AUTHENTICATION = {
    "activedirectorydefault": "",
    "activedirectoryworkloadidentity": "",
    "activedirectorymanagedidentity": "ActiveDirectoryMsi",
    "activedirectorymsi": "ActiveDirectoryMsi",
    "activedirectorypassword": "ActiveDirectoryPassword",
    "activedirectoryserviceprincipal": "ActiveDirectoryServicePrincipal",
    "activedirectoryintegrated": "ActiveDirectoryIntegrated",
    "sqlpassword": "SqlPassword",
}
_POSTGRESQL = {
    "host": "SERVER",
    "userid": "UID",
    "user": "UID",
    "username": "UID",
    "password": "PWD",
    "dbname": "DATABASE",
    "sslmode": "SSLmode",
}
# Npgsql keywords without a counterpart in psqlodbc.
_NOT_ON_POSTGRESQL = _words(
    "searchpath clientcertificate passfile integratedsecurity kerberosservicename options"
    " targetsessionattributes loadbalancehosts multiplexing"
)
# libpq parameters of a URL that psqlodbc passes on in PQOPT.
_LIBPQ = _words(
    "connect_timeout application_name sslrootcert sslcert sslkey sslcrl channel_binding gssencmode"
    " keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout"
    " target_session_attrs options client_encoding"
)
_URL = re.compile(r"([a-z][a-z0-9+.:-]*)://", re.IGNORECASE)


def to_odbc(text: str, *, family: str) -> ConnectionString:
    """The ODBC connection string equivalent to `text`; family: "sqlserver" or "postgresql".

    Raises ConnectionStringError, with the keyword that has no counterpart.
    """
    text = text.strip()
    url = _URL.match(text)
    if url is not None:
        return _from_url(url[1].lower(), text, family)
    translate = _sql_server if family == "sqlserver" else _postgresql
    given = _read(text)
    return translate(given, lenient=any(key.lower() in ("driver", "dsn") for key in given))


def reading_intent(text: str) -> str:
    """The ODBC connection string of `text`, of SQL Server, for a session that only reads.

    Raises as to_odbc() does.
    """
    return str(to_odbc(text, family="sqlserver").replaced({"ApplicationIntent": "ReadOnly"}))


def _read(text: str) -> Mapping[str, str]:
    """Keywords as spelled, and their values. If a keyword exists in ADO.NET only, its rules for
    quotes apply, otherwise ODBC's."""
    keys = {_plain(key) for key in re.findall(r"(?:^|;)\s*([\w ]+?)\s*=", text)}
    if keys & {"driver", "dsn"} or not keys & _ADO_ONLY:
        return ConnectionString(text).values
    values: dict[str, str] = {}
    for found in attributes(text, _ADO_ATTRIBUTE):
        key, value = found[1], found[2]
        for mark, end in (('"', '"'), ("'", "'"), ("{", "}")):
            if len(value) > 1 and value.startswith(mark) and value.endswith(end):
                value = value[1:-1].replace(end * 2, end)
                break
        # ADO.NET takes the last value of a keyword.
        values[key] = value
    return values


def _sql_server(given: Mapping[str, str], *, lenient: bool) -> ConnectionString:
    """lenient: pass unknown keywords on to the driver that the string names."""
    values: dict[str, str] = {}
    for key, value in given.items():
        name = _plain(key)
        if name in _OWN or (name == "integratedsecurity" and _flag(value) == "no"):
            continue
        if name == "authentication":
            values["Authentication"] = _authentication(value)
        elif name in _FLAGS:
            values[_FLAGS[name]] = _flag(value)
        elif name in _SQL_SERVER:
            values.setdefault(_SQL_SERVER[name], value)
        elif name in _ODBC_SQL_SERVER:
            values[name] = value
        elif lenient:
            values[key] = value
        else:
            raise _untranslatable(key)
    if values.get("Authentication") == "":
        del values["Authentication"]
        if {key.upper() for key in values} & {"UID", "PWD"}:
            raise ConnectionStringError(
                "The connection string has a User ID or Password next to an Authentication that"
                " needs none. Remove it; to choose a managed identity, set AZURE_CLIENT_ID."
            )
    return ConnectionString("").with_defaults(values)


def _authentication(value: str) -> str:
    name = _plain(value)
    if name in ("activedirectoryinteractive", "activedirectorydevicecodeflow"):
        raise ConnectionStringError(
            "Authentication in the connection string needs a person to log in. Remove it: an"
            " access token is used instead."
        )
    return _AUTHENTICATION.get(name, value)


def _postgresql(given: Mapping[str, str], *, lenient: bool) -> ConnectionString:
    values: dict[str, str] = {}
    options: list[str] = []
    for key, value in given.items():
        name = _plain(key)
        if name in _OWN or name == "trustservercertificate":
            continue  # it accompanies sslmode=require, which verifies nothing
        if name == "sslmode":
            values["SSLmode"] = re.sub(r"^verify-?", "verify-", value.lower())
        elif name == "rootcertificate":
            options.append(_libpq_option("sslrootcert", value))
        elif name in ("applicationname", "keepalive") and not lenient:
            target = {"applicationname": "application_name", "keepalive": "keepalives_idle"}[name]
            options.append(_libpq_option(target, value))
        elif name in _POSTGRESQL:
            values.setdefault(_POSTGRESQL[name], value)
        elif name in _NOT_ON_POSTGRESQL and not lenient:
            raise _untranslatable(key)
        else:
            values[key] = value
    return _with_options(values, options)


def _from_url(scheme: str, text: str, family: str) -> ConnectionString:
    engine = scheme.partition("+")[0]
    if engine in ("postgresql", "postgres"):
        read: Callable[..., ConnectionString] = _from_postgresql_url
        expected = "postgresql"
    elif engine in ("mssql", "sqlserver"):
        read, expected = _from_sql_server_url, "sqlserver"
    else:
        raise ConnectionStringError(
            f"A connection URL cannot start with {scheme}://. Use mssql+pyodbc://,"
            " postgresql:// or an ODBC connection string."
        )
    if expected != family:
        prefix = "POSTGRESQLCONNSTR_" if expected == "postgresql" else "SQLAZURECONNSTR_"
        raise ConnectionStringError(
            f"The URL starts with {scheme}://, but its variable is for another engine. Rename the"
            f" variable: {prefix} and the name."
        )
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        raise ConnectionStringError(
            f"The {scheme}:// URL has no valid host and port. Write one host; percent-encode"
            " : / ? # [ ] @ in user name and password."
        ) from None
    return read(url)


def _from_sql_server_url(url: SplitResult) -> ConnectionString:
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    for key, value in query.items():
        if key.lower() == "odbc_connect":
            return to_odbc(value, family="sqlserver")
    values = _location(url)
    if url.port is not None:
        values["SERVER"] = f"{values['SERVER']},{url.port}"
    # SQLAlchemy passes every other query parameter to ODBC.
    query = {key: value for key, value in query.items() if key.lower() != "autocommit"}
    return _sql_server({**values, **query}, lenient="driver" in map(str.lower, query))


def _from_postgresql_url(url: SplitResult) -> ConnectionString:
    values = _location(url)
    if url.port is not None:
        values["PORT"] = str(url.port)
    options: list[str] = []
    for key, value in parse_qsl(url.query, keep_blank_values=True):
        name = key.lower()
        if name == "port":
            values["PORT"] = value
        elif name in _POSTGRESQL:
            values[_POSTGRESQL[name]] = value
        elif name in _LIBPQ:
            options.append(_libpq_option(name, value))
        else:
            raise _untranslatable(key)
    return _with_options(values, options)


def _location(url: SplitResult) -> dict[str, str]:
    """Server, database, user and password of a URL; no keyword for an absent part."""
    parts = {
        "SERVER": unquote(url.hostname or ""),
        "DATABASE": unquote(url.path.lstrip("/")),
        "UID": unquote(url.username or ""),
        "PWD": unquote(url.password or ""),
    }
    return {key: value for key, value in parts.items() if value}


def _with_options(values: dict[str, str], options: list[str]) -> ConnectionString:
    if options:
        own = next((key for key in values if key.upper() == "PQOPT"), "PQOPT")
        values[own] = " ".join([*filter(None, [values.get(own)]), *options])
    return ConnectionString("").with_defaults(values)


def _libpq_option(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'" if re.search(r"[\s'\\]", value) or not value else f"{name}={value}"


def _flag(value: str) -> str:
    """yes or no, as the driver expects; any other word (Encrypt=Strict) in lower case."""
    lower = value.strip().lower()
    return "yes" if lower in _YES else "no" if lower in _NO else lower


def _plain(key: str) -> str:
    """A keyword as ADO.NET compares it: without blanks, in lower case."""
    return key.replace(" ", "").lower()


def _untranslatable(key: str) -> ConnectionStringError:
    return ConnectionStringError(
        f"The connection string's keyword {key!r} has no ODBC counterpart. Remove it."
    )
