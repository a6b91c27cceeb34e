"""What differs between the engines once there is a connection: how a procedure is called, how its
rows are fetched, how the session is reset.

Each new connection reports its engine (SQL_DBMS_NAME); it is never guessed from the text.
"""

import functools
import math
import struct
import uuid
from collections.abc import Iterator
from typing import Any

import pyodbc

from database.errors import DatabaseError, Kind
from database.statement import Guard, ResultColumn, Statement, columns_of, reach_result

# msodbcsql.h: SQL_COPT_SS_RESET_CONNECTION, SQL_RESET_YES.
RESET_CONNECTION, RESET_YES = 1246, 1
# Rows a fetch while streaming. psqlodbc slows down with the square of it: a million trips took
# 8 s by 200, 15 s by 1,000 and 19 s by 5,000.
FETCH_ROWS = 200
# (type, size, digits) for setinputsizes: one plan for every length.
NVARCHAR_MAX = (pyodbc.SQL_WVARCHAR, 0, 0)
VARBINARY_MAX = (pyodbc.SQL_VARBINARY, 0, 0)
# The longest text that sp_set_session_context takes: sql_variant holds no nvarchar(max).
CALLER_MAX_CHARACTERS = 4000
NVARCHAR_CALLER = (pyodbc.SQL_WVARCHAR, CALLER_MAX_CHARACTERS, 0)
INPUT_SIZES: dict[type, tuple[int, int, int]] = {str: NVARCHAR_MAX, bytes: VARBINARY_MAX}

# msodbcsql.h: SQL_SS_TIMESTAMPOFFSET; its struct of year … second, nanoseconds, offset.
DATETIMEOFFSET = -155
_DATETIMEOFFSET = struct.Struct("<hHHHHHIhh")

# Undoes the settings that an earlier procedure made. In the call's own round trip it costs a few
# hundredths of a call over a Unix socket (bench/overhead.py).
FORGET = "RESET ALL"
# Local to the transaction. Read it as nullif(current_setting('request.caller', true), '').
SET_CALLER = "SELECT set_config('request.caller', ?, true)"
# For a statement that ends transactions; reset after it.
SET_SESSION_CALLER = "SELECT set_config('request.caller', ?, false)"
SET_CALLER_T_SQL = (
    "BEGIN TRY EXEC sys.sp_set_session_context N'caller', ?, 1 END TRY BEGIN CATCH THROW END CATCH;"
)


class SqlServer:
    """SQL Server, Azure SQL, Synapse and Babelfish through Microsoft's driver."""

    name = "sqlserver"
    dbms_names = ("Microsoft SQL Server",)
    limits_statements = True
    resets_sessions = True
    # Whether the driver can report an error after it has returned rows.
    errors_after_rows = True

    @staticmethod
    @functools.cache
    def call_text(procedure: str, with_caller: bool = False) -> tuple[str, int]:
        """The statement, and the number of results in front of the procedure's own.

        with_caller: its first parameter is the caller, its second the document. The key is
        read-only, so that no procedure can replace the caller; the reset before the next statement
        removes it. An error there must end the batch, which only THROW does.
        """
        caller = f"{SET_CALLER_T_SQL} " if with_caller else ""
        return f"{caller}EXEC {procedure} ?", 0

    def call(self, procedure: str, document: str) -> Statement:
        """The call of a procedure with one document, for with_session()."""
        return Statement(f"EXEC {procedure} ?", (document,))

    def bind(self, cursor: pyodbc.Cursor, *, with_caller: bool = False) -> None:
        cursor.setinputsizes([NVARCHAR_CALLER, NVARCHAR_MAX] if with_caller else [NVARCHAR_MAX])

    def reset(self, connection: pyodbc.Connection) -> None:
        """Reset the session with the next request, at no round trip. No statement may be open."""
        connection.set_attr(RESET_CONNECTION, RESET_YES)

    def discard(self, connection: pyodbc.Connection) -> None:
        """Undo what statements of a library have set: reset() will."""

    def convert_values(self, connection: pyodbc.Connection) -> None:
        """Return values of two types otherwise than pyodbc does.

        datetimeoffset, which pyodbc refuses: ISO text with its offset and all seven digits.
        uniqueidentifier: in lower case, as PostgreSQL's uuid. Of the others, time(7) and
        datetime2(7) lose their seventh digit, because Python counts microseconds; xml is text;
        hierarchyid, geometry and geography are bytes. A sql_variant is read right only where it
        holds text: pyodbc 5.5 raises HY106 for a number and returns "" for NULL. Cast it.
        """
        connection.add_output_converter(DATETIMEOFFSET, _datetimeoffset)
        connection.add_output_converter(pyodbc.SQL_GUID, _uniqueidentifier)

    def rows(
        self,
        cursor: pyodbc.Cursor,
        procedure: str,
        document: str,
        caller: str | None = None,
        guard: Guard | None = None,
    ) -> Iterator[list[str]]:
        """The first column of each row, in batches, as the server sends them."""
        statement = self.call(procedure, document)
        if guard is not None:
            statement = guard.before(statement)
        text, values, _ = self.with_session(statement, caller)
        self.bind_values(cursor, values, with_caller=caller is not None)
        cursor.execute(text, *values)
        while True:
            while cursor.description is not None and (rows := cursor.fetchmany(FETCH_ROWS)):
                yield [row[0] for row in rows]
            # An error may come after the rows, and only nextset() shows it.
            if not cursor.nextset():
                break

    def with_session(
        self, statement: Statement, caller: str | None
    ) -> tuple[str, tuple[Any, ...], int]:
        """(text, values, result sets to skip) of `statement` in the session of this caller."""
        if caller is None:
            return statement.text, statement.values, statement.skip
        return f"{SET_CALLER_T_SQL} {statement.text}", (caller, *statement.values), statement.skip

    def before_alone(self, connection: pyodbc.Connection, caller: str | None) -> None:
        """Prepare the session for a statement that runs alone: with_session() has done it."""

    def after_alone(self, connection: pyodbc.Connection) -> None:
        """Undo before_alone(): reset() will."""

    def bind_values(
        self, cursor: pyodbc.Cursor, values: tuple[Any, ...], *, with_caller: bool
    ) -> None:
        """Bind texts as nvarchar(max) and bytes as varbinary(max); with_caller: the first value is
        the caller."""
        sizes = [INPUT_SIZES.get(type(value)) for value in values]
        if with_caller:
            sizes[0] = NVARCHAR_CALLER
        cursor.setinputsizes(sizes)

    def open(
        self,
        cursor: pyodbc.Cursor,
        text: str,
        values: tuple[Any, ...],
        skip: int,
        fetch_from: str,
    ) -> tuple[tuple[ResultColumn, ...], Iterator[list[Any]]]:
        """Run a statement: the columns of its first result set after `skip`, and its rows in
        batches."""
        cursor.execute(text, *values)
        if not reach_result(cursor, skip):
            return (), iter(())
        return columns_of(cursor.description), self._fetch(cursor)

    def _fetch(self, cursor: pyodbc.Cursor) -> Iterator[list[Any]]:
        while rows := cursor.fetchmany(FETCH_ROWS):
            yield rows
        # An error may come after the rows, and only nextset() shows it.
        while cursor.nextset():
            if cursor.description is not None:
                cursor.fetchall()

    def statement_limit(self, seconds: float) -> int:
        """The query timeout of a cursor for a statement that may take `seconds`; 0 is none.

        A second line of defence behind the deadline's cancel. A cursor keeps the timeout that its
        connection had when it was created. Rounding up to a power of two means that a kept cursor
        is replaced for a longer deadline only a few times in its life.
        """
        return 1 << math.ceil(math.log2(max(1.0, seconds)))


class PostgreSQL:
    """PostgreSQL through psqlodbc."""

    name = "postgresql"
    dbms_names = ("PostgreSQL",)
    limits_statements = False
    resets_sessions = False  # call_text() and with_session() do it in the statement's round trip
    # psqlodbc sends several statements as one message, and execute() reads all of its results.
    errors_after_rows = False

    @staticmethod
    @functools.cache
    def call_text(procedure: str, with_caller: bool = False) -> tuple[str, int]:
        """As SqlServer.call_text. The statements travel together and so are one transaction. Its
        end removes the caller; its beginning resets what an earlier procedure may have set."""
        schema, name = procedure.split(".")
        first = (FORGET, SET_CALLER) if with_caller else (FORGET,)
        return ";".join((*first, f'SELECT * FROM {schema}."{name}"(?)')), len(first)

    def bind(self, cursor: pyodbc.Cursor, *, with_caller: bool = False) -> None:
        pass

    def reset(self, connection: pyodbc.Connection) -> None:
        pass

    def discard(self, connection: pyodbc.Connection) -> None:
        """Undo what statements of a library have set; one round trip."""
        connection.execute("DISCARD ALL").close()

    def convert_values(self, connection: pyodbc.Connection) -> None:
        """Nothing: catalog/statements.py casts what psqlodbc would return otherwise."""

    def call(self, procedure: str, document: str) -> Statement:
        """As SqlServer.call."""
        schema, name = procedure.split(".")
        return Statement(f'SELECT * FROM {schema}."{name}"(?)', (document,))

    def rows(
        self,
        cursor: pyodbc.Cursor,
        procedure: str,
        document: str,
        caller: str | None = None,
        guard: Guard | None = None,
    ) -> Iterator[list[str]]:
        """As SqlServer.rows. PostgreSQL materializes a function's result before the first row; the
        twin `<name>_rows` opens a cursor instead, which needs a transaction."""
        schema, name = procedure.split(".")
        cursor.connection.autocommit = False
        statement = Statement(f'SELECT {schema}."{name}_rows"(?)', (document,))
        if guard is not None:
            statement = guard.before(statement)
        text, values, skip = self.with_session(statement, caller)
        cursor.execute(text, *values)
        reach_result(cursor, skip)
        fetch = f'FETCH {FETCH_ROWS} FROM "{cursor.fetchval()}"'
        while rows := cursor.execute(fetch).fetchall():
            yield [row[0] for row in rows]
        _end_fetching(cursor)

    def with_session(
        self, statement: Statement, caller: str | None
    ) -> tuple[str, tuple[Any, ...], int]:
        """As SqlServer.with_session. All statements travel together and are one transaction; one
        that runs alone may end its transaction and begin others."""
        if statement.alone:
            return statement.text, statement.values, statement.skip
        if caller is None:
            return f"{FORGET};{statement.text}", statement.values, statement.skip
        text = f"{FORGET};{SET_CALLER};{statement.text}"
        return text, (caller, *statement.values), statement.skip + 1

    def before_alone(self, connection: pyodbc.Connection, caller: str | None) -> None:
        """As SqlServer.before_alone; one more round trip."""
        connection.execute(FORGET).close()
        if caller is not None:
            connection.execute(SET_SESSION_CALLER, caller).close()

    def after_alone(self, connection: pyodbc.Connection) -> None:
        connection.execute(FORGET).close()

    def bind_values(
        self, cursor: pyodbc.Cursor, values: tuple[Any, ...], *, with_caller: bool
    ) -> None:
        pass

    def open(
        self,
        cursor: pyodbc.Cursor,
        text: str,
        values: tuple[Any, ...],
        skip: int,
        fetch_from: str,
    ) -> tuple[tuple[ResultColumn, ...], Iterator[list[Any]]]:
        """As SqlServer.open. `text` declares the cursor `fetch_from`, which needs a transaction;
        without a cursor psqlodbc would fetch the whole result first."""
        cursor.connection.autocommit = False
        cursor.execute(text, *values)
        while cursor.nextset():
            pass
        fetch = f"FETCH {FETCH_ROWS} FROM {fetch_from}"
        rows = cursor.execute(fetch).fetchall()
        return columns_of(cursor.description), self._fetch(cursor, fetch, rows)

    def _fetch(self, cursor: pyodbc.Cursor, fetch: str, rows: list[Any]) -> Iterator[list[Any]]:
        while rows:
            yield rows
            rows = cursor.execute(fetch).fetchall()
        _end_fetching(cursor)

    def statement_limit(self, seconds: float) -> int:
        return 0  # the deadline's cancel and the socket's end are enough


def _end_fetching(cursor: pyodbc.Cursor) -> None:
    """Commit the transaction of a PostgreSQL cursor: a list function may write, an audit row for
    example. After an error or an early close it stays open, and its connection has to be evicted.
    """
    cursor.connection.commit()
    cursor.connection.autocommit = True


def _datetimeoffset(raw: bytes | None) -> str | None:
    """ISO 8601 with an offset, such as 2026-01-31T13:45:00.1234567+01:00; 0 digits where zero."""
    if raw is None:
        return None
    year, month, day, hour, minute, second, nanoseconds, hours, minutes = _DATETIMEOFFSET.unpack(
        raw
    )
    fraction = f".{nanoseconds // 100:07}".rstrip("0").rstrip(".")
    sign = "-" if hours < 0 or minutes < 0 else "+"
    return (
        f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}"
        f"{sign}{abs(hours):02}:{abs(minutes):02}"
    )


def _uniqueidentifier(raw: bytes | None) -> str | None:
    return None if raw is None else str(uuid.UUID(bytes_le=raw))


DIALECTS = (SqlServer(), PostgreSQL())


def dialect_of(connection: pyodbc.Connection) -> SqlServer | PostgreSQL:
    """The dialect of a live connection, by the name that its engine reports."""
    name = connection.getinfo(pyodbc.SQL_DBMS_NAME)
    for dialect in DIALECTS:
        if name in dialect.dbms_names:
            return dialect
    raise DatabaseError(Kind.MISCONFIGURED)
