"""How far a database's log has come: one query for primary and replica, by engine.

PostgreSQL has the position in the write-ahead log. A T-SQL login needs rights on the whole server
to see as much, so the time of the newest idempotency key stands for it: a replica that has this key
has every write before it.
"""

from typing import Any, NamedTuple

from database.statement import Statement

# The number of bytes since the log began, so that positions compare as numbers.
_POSTGRESQL = Statement(
    "SELECT pg_is_in_recovery()::int,"
    " ((CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)"
    " - '0/0'::pg_lsn)::text,"
    " (SELECT system_identifier::text FROM pg_control_system()) || ' ' || current_database()"
)
# Replicas are physical copies, so the date on which the oldest object was created is the same there
# to the millisecond, and another database's is not.
_SQL_SERVER_TEXT = (
    "SELECT CASE WHEN DATABASEPROPERTYEX(DB_NAME(), 'Updateability') = N'READ_ONLY' THEN 1"
    " ELSE 0 END, {position},"
    " (SELECT CONVERT(varchar(33), MIN(o.create_date), 126) FROM sys.objects AS o"
    " WHERE o.is_ms_shipped = 0)"
)
_NEWEST_KEY = (
    "(SELECT CONVERT(varchar(33), MAX(r.CreatedAt), 126) FROM procedures_api.requests AS r)"
)
_SQL_SERVER = Statement(
    "IF HAS_PERMS_BY_NAME(N'procedures_api.requests', N'OBJECT', N'SELECT') = 1 "
    + _SQL_SERVER_TEXT.format(position=_NEWEST_KEY)
    + " ELSE "
    + _SQL_SERVER_TEXT.format(position="CAST(NULL AS varchar(33))")
)


class Position(NamedTuple):
    """reads_only: whether the database is a replica. at: comparable within one database; None where
    it can't be known. identity: equal for a primary and its replicas, and for no other database."""

    reads_only: bool
    at: int | str | None
    identity: str | None


def query(engine: str) -> Statement:
    """The query of a position; one row. engine: as in database.dialects."""
    return _POSTGRESQL if engine == "postgresql" else _SQL_SERVER


def position(engine: str, row: Any) -> Position:
    """The position in a row of query()."""
    reads_only, at, identity = row
    return Position(bool(reads_only), int(at) if engine == "postgresql" else at, identity)
