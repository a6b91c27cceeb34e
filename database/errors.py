"""What a failure of the database means: one table of numbers, one exception per meaning.

The native number or SQLSTATE decides, never the exception class that pyodbc picks, and never the
driver's text. SQL Server's number is only at the end of the text, `(<native>) (<function>)`.

Sources: [azure] Microsoft, "Troubleshoot transient connection errors in Azure SQL Database";
[sql] Microsoft, "Database engine events and errors"; [synapse] Microsoft, "Troubleshoot Azure
Synapse dedicated SQL pool"; [ef] EF Core, SqlServerTransientExceptionDetector; [pg] PostgreSQL,
appendix A "PostgreSQL Error Codes"; [odbc] measured on Microsoft ODBC Driver 18.6 and psqlodbc
13.02 (tests/wire, tests/chaos); [own] sql/keys/ and catalog.statements.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

# A native error number or a SQLSTATE.
N = TypeVar("N", int, str)

# Anchored at the end: messages contain parentheses of their own.
NATIVE_ERROR = re.compile(r"\((-?\d+)\) \(\w+\)$")
# The server's message is between the last bracketed origin and the number.
SQL_SERVER_MESSAGE = re.compile(r"\[SQL Server\](.*) \(-?\d+\) \(\w+\)$", re.DOTALL)
POSTGRESQL_MESSAGE = re.compile(r"ERROR: (.*?)(?:\nDETAIL: .*?)?;\nError while", re.DOTALL)

# What the driver manager and the driver put in front of a message, and behind it.
_ORIGINS = re.compile(r"^(?:\[[^]]*\]\s*)+")
_DRIVER_NUMBER = re.compile(r"(?:;\nError while [^\n]*)?\s*\(-?\d+\) \(\w+\)$")
LONGEST_MESSAGE = 500

# A block predicate of a security policy, which can't choose a status as a procedure can. [sql]
ROW_REFUSED = 33504
# A unique index, a unique constraint [sql]; unique_violation [pg].
_DUPLICATES = (2601, 2627)
UNIQUE_VIOLATION = "23505"
UNSUPPORTED_TYPE = "HY106"


class Kind(Enum):
    """The meaning of a failure; whether it is transient, and whether its connection is evicted."""

    LOST = "connection lost"
    UNREACHABLE = "unreachable"
    RESUMING = "resuming or scaling"
    THROTTLED = "throttled"
    NOT_OPEN = "database not open"
    CONTENTION = "deadlock or conflict"
    FULL = "no space left"
    BEHIND = "write not replicated yet"
    STALE_HANDLE = "prepared statement forgotten"
    TIMED_OUT = "statement timed out"
    CANCELLED = "statement cancelled"
    CONSTRAINT = "constraint violated"
    BAD_VALUE = "value refused"
    CHOSEN = "status chosen by the procedure"
    RAISED = "raised by the procedure"
    TRANSACTION = "transaction ended by the procedure"
    LOGIN_REFUSED = "login refused"
    FORBIDDEN = "permission missing"
    NOT_DEPLOYED = "procedure missing"
    NO_SUCH_OBJECT = "table or column missing"
    WRONG_PARAMETERS = "parameters of the procedure differ"
    FAULTY = "error in the procedure"
    MISCONFIGURED = "driver or setting wrong"
    UNKNOWN = "unknown"

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed a moment later."""
        return self in _TRANSIENT

    @property
    def spoils_connection(self) -> bool:
        return self in _SPOILING


_TRANSIENT = {
    *(Kind.LOST, Kind.UNREACHABLE, Kind.RESUMING, Kind.THROTTLED, Kind.CONTENTION),
    *(Kind.STALE_HANDLE, Kind.NOT_OPEN),
}
_SPOILING = {
    *(Kind.LOST, Kind.UNREACHABLE, Kind.RESUMING, Kind.LOGIN_REFUSED, Kind.STALE_HANDLE),
    *(Kind.TIMED_OUT, Kind.UNKNOWN, Kind.NOT_OPEN, Kind.TRANSACTION),
}


@dataclass(frozen=True)
class Rule:
    """The meaning of a number, its source, and the seconds to wait that this source recommends."""

    kind: Kind
    source: str
    wait: float = 0.0


def _rules(kind: Kind, source: str, *numbers: N, wait: float = 0.0) -> dict[N, Rule]:
    return dict.fromkeys(numbers, Rule(kind, source, wait))


SQL_SERVER: dict[int, Rule] = {
    **_rules(Kind.THROTTLED, "azure", 40501, 10928, 10929, wait=10),
    **_rules(Kind.THROTTLED, "azure", 49918, 49919, 49920, wait=10),
    **_rules(Kind.THROTTLED, "sql", 10936, 17197, 18401),
    **_rules(Kind.RESUMING, "azure", 40613, 40197, 40540, 40143, 4221, 615, 926, 40166, 40549),
    **_rules(Kind.THROTTLED, "ef", 10930, 40642, 40648, 40675, 40903),
    **_rules(Kind.RESUMING, "synapse", 42108, 42109),
    **_rules(Kind.RESUMING, "ef", 921, 941, 952, 988, 40671, 40890, 49802),
    # Read-only: a primary that has become a replica.
    **_rules(Kind.RESUMING, "sql", 3906),
    # A failover, or a wrong name: retried, but not for long.
    **_rules(Kind.NOT_OPEN, "ef", 4060, wait=1),
    # The batch was aborted and the session with it.
    **_rules(Kind.LOST, "ef", 3980),
    **_rules(Kind.UNREACHABLE, "sql", 20, 53, 64, 121, 233, 10053, 10054, 10060, 11001, 997),
    **_rules(Kind.CONTENTION, "sql", 1205, 1203, 1204, 1221, 1222, 3935, 3960, 3966, 13535),
    **_rules(Kind.CONTENTION, "sql", 601, 617, 669, 1807, 8628, 8645, 8651, 9515, 10922, 14355),
    **_rules(Kind.CONTENTION, "sql", 41301, 41302, 41305, 41325, 41839),
    **_rules(Kind.CONTENTION, "ef", 20041),
    **_rules(Kind.FULL, "sql", 1101, 1105, 9002, wait=30),
    **_rules(Kind.FULL, "azure", 40544, wait=30),
    **_rules(Kind.LOGIN_REFUSED, "sql", 18452, 18456, 18470, 40532, 40615),
    **_rules(Kind.CONSTRAINT, "sql", 2627, 2601, 547),
    **_rules(Kind.BAD_VALUE, "sql", 515, 8152, 2628, 245, 241, 242, 8114, 8115, 220, 13609),
    **_rules(Kind.FORBIDDEN, "sql", 229, 230, 262, 297, 300, 916),
    **_rules(Kind.NOT_DEPLOYED, "sql", 2812),
    **_rules(Kind.NO_SUCH_OBJECT, "sql", 207, 208),
    **_rules(Kind.WRONG_PARAMETERS, "sql", 201, 8144, 8145),
    **_rules(Kind.FAULTY, "sql", 8134),
    **_rules(Kind.CANCELLED, "sql", 3617),
    **_rules(Kind.STALE_HANDLE, "sql", 8179),
    # Nested in the transaction of a write: rolled back, committed, or doomed by the procedure.
    # 59266 is raised by the batch itself (catalog.statements).
    **_rules(Kind.TRANSACTION, "sql", 266, 3902, 3903, 3915, 3916, 3930, 3998, 59266),
    # The guard in front of a replica's read (catalog.statements, sql/azure-sql).
    **_rules(Kind.BEHIND, "own", 59267),
    # Babelfish: any error that T-SQL has no number for.
    **_rules(Kind.UNKNOWN, "odbc", 33557097),
}

# Whole SQLSTATEs first, then their two-character classes.
SQLSTATES: dict[str, Rule] = {
    **_rules(Kind.RESUMING, "pg", "57P01", "57P02", "57P03", "25006"),
    **_rules(Kind.CONTENTION, "pg", "40001", "40P01", "55P03", "55006", "55000"),
    **_rules(Kind.THROTTLED, "pg", "53000", "53200", "53300", "53400"),
    **_rules(Kind.CANCELLED, "pg", "57014"),
    **_rules(Kind.CANCELLED, "odbc", "HY008"),
    **_rules(Kind.FULL, "pg", "53100", wait=30),
    **_rules(Kind.BAD_VALUE, "pg", "23502", "23514"),
    **_rules(Kind.NOT_DEPLOYED, "pg", "42883", "3F000"),
    **_rules(Kind.NO_SUCH_OBJECT, "pg", "42P01", "42703"),
    **_rules(Kind.FAULTY, "pg", "22012"),
    **_rules(Kind.FORBIDDEN, "pg", "42501"),
    **_rules(Kind.FAULTY, "odbc", "HY106"),
    **_rules(Kind.RAISED, "pg", "P0001", "PT"),
    **_rules(Kind.TRANSACTION, "pg", "2D", "25P01"),
    **_rules(Kind.FAULTY, "pg", "P0", "21", "42601", "42702", "42725", "42804"),
    # sql/keys/postgresql/: the key of a write is known.
    **_rules(Kind.CONSTRAINT, "own", "KEY01"),
    # The key of a write has not reached this replica.
    **_rules(Kind.BEHIND, "own", "KEY02"),
    **_rules(Kind.LOST, "odbc", "08S01", "08003", "08007", "HYT01", "IMC06"),
    **_rules(Kind.UNREACHABLE, "odbc", "08001", "08004", "08006", "08000"),
    **_rules(Kind.MISCONFIGURED, "odbc", "01000", "IM002", "IM003", "FA005", "01S00", "IM012"),
    **_rules(Kind.CONSTRAINT, "pg", "23"),
    **_rules(Kind.BAD_VALUE, "pg", "22"),
    **_rules(Kind.LOGIN_REFUSED, "pg", "28"),
}


class DatabaseError(Exception):
    """A failure with a meaning. `str()` has kind, SQLSTATE and number, and no driver text.

    sqlstate: five characters; native: the server's number, 0 when the driver made the error;
    message: what a procedure raised (Kind.CHOSEN and RAISED only); status: the HTTP status that it
    chose; may_have_run: the statement was sent and must not be repeated; wait: seconds to wait
    before another attempt, as the number's source recommends;
    said: the server's or driver's message on one line, for logs only. It has no values of the
    request: a constraint's message loses those in parentheses, a refused value's is left out.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        sqlstate: str = "",
        native: int = 0,
        message: str = "",
        status: int | None = None,
        wait: float = 0.0,
        said: str = "",
    ) -> None:
        super().__init__(f"{kind.value} (SQLSTATE {sqlstate or 'none'}, native error {native})")
        self.kind = kind
        self.sqlstate = sqlstate
        self.native = native
        self.message = message
        self.status = status
        self.wait = wait
        self.said = said
        self.may_have_run = False

    @property
    def report(self) -> str:
        """Its text for a log line: kind, SQLSTATE, number and message."""
        return f"{self}: {self.said}" if self.said else str(self)

    def __copy__(self) -> "DatabaseError":
        # The default copy would pass the text as the kind.
        copied = type(self).__new__(type(self), *self.args)
        copied.__dict__.update(self.__dict__)
        return copied

    @property
    def duplicate(self) -> bool:
        """Whether a unique constraint or index refused the value."""
        return self.native in _DUPLICATES or self.sqlstate == UNIQUE_VIOLATION


class DeadlineExceeded(Exception):
    """The request's deadline passed; its statement was cancelled."""


class Unavailable(Exception):
    """The database is unavailable; `retry_after` is in seconds, at least 1.

    failure: the last failure that the database or driver reported; None without one.
    """

    def __init__(
        self, reason: str, *, retry_after: float = 1.0, failure: DatabaseError | None = None
    ) -> None:
        super().__init__(reason)
        self.retry_after = max(1.0, retry_after)
        self.failure = failure


class NotConfigured(Exception):
    """No connection string for this database; the message names the missing variable."""


def classify(error: Exception) -> DatabaseError:
    """The meaning of a `pyodbc.Error` (args: SQLSTATE, text); any other error is UNKNOWN."""
    sqlstate, text = (*(str(a) for a in error.args), "", "")[:2]
    if text == UNSUPPORTED_TYPE:
        # pyodbc's own error for a column type that it can't read has them in the other order.
        sqlstate, text = text, f"{sqlstate}; cast the column in the procedure"
    meaning = translate_error(sqlstate, text)
    if meaning.kind is not Kind.BAD_VALUE:
        said = _said(text)
        constrained = meaning.kind is Kind.CONSTRAINT
        meaning.said = re.sub(r"\(.*\)", "(…)", said) if constrained else said
    return meaning


def _said(text: str) -> str:
    """The message without its origins, PostgreSQL's details and the number, on one line."""
    inner = _DRIVER_NUMBER.sub("", _ORIGINS.sub("", text)).partition("\nDETAIL: ")[0]
    return " ".join(inner.split())[:LONGEST_MESSAGE]


def translate_error(sqlstate: str, text: str) -> DatabaseError:
    found = NATIVE_ERROR.search(text)
    native = int(found[1]) if found else 0
    if "[SQL Server]" in text:
        return _sql_server(sqlstate, native, text)
    if sqlstate.startswith("PT") and sqlstate[2:].isdigit() and 400 <= int(sqlstate[2:]) <= 599:
        said = POSTGRESQL_MESSAGE.search(text)
        return DatabaseError(
            Kind.CHOSEN,
            sqlstate=sqlstate,
            status=int(sqlstate[2:]),
            message=said[1] if said else "",
        )
    if sqlstate == "HYT00":
        # Login and query timeouts share the state; only the function's name tells them apart.
        kind = Kind.UNREACHABLE if text.endswith("(SQLDriverConnect)") else Kind.TIMED_OUT
        return DatabaseError(kind, sqlstate=sqlstate)
    rule = SQLSTATES.get(sqlstate) or SQLSTATES.get(sqlstate[:2]) or Rule(Kind.UNKNOWN, "")
    raised = POSTGRESQL_MESSAGE.search(text) if rule.kind is Kind.RAISED else None
    return DatabaseError(
        rule.kind,
        sqlstate=sqlstate,
        native=native,
        wait=rule.wait,
        message=raised[1] if raised else "",
    )


def _sql_server(sqlstate: str, native: int, text: str) -> DatabaseError:
    if 50400 <= native <= 50599:
        said = SQL_SERVER_MESSAGE.search(text)
        return DatabaseError(
            Kind.CHOSEN,
            sqlstate=sqlstate,
            native=native,
            status=native - 50000,
            message=said[1] if said else "",
        )
    if native == ROW_REFUSED:
        return DatabaseError(
            Kind.CHOSEN,
            sqlstate=sqlstate,
            native=native,
            status=403,
            message="A row-level security policy forbids this change.",
        )
    rule = SQL_SERVER.get(native)
    if rule is None and native >= 50000:
        said = SQL_SERVER_MESSAGE.search(text)
        message = said[1] if said else ""
        return DatabaseError(Kind.RAISED, sqlstate=sqlstate, native=native, message=message)
    rule = rule or SQLSTATES.get(sqlstate) or SQLSTATES.get(sqlstate[:2])
    if rule is None:
        return DatabaseError(Kind.UNKNOWN, sqlstate=sqlstate, native=native)
    return DatabaseError(rule.kind, sqlstate=sqlstate, native=native, wait=rule.wait)
