"""SQLAlchemy sessions on pooled connections: same pool, same identity, same deadline.

Imported by the first request that uses it, because importing SQLAlchemy takes half a second.
"""

import contextlib
import threading
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol

from sqlalchemy import Engine, create_engine
from sqlalchemy.connectors.pyodbc import PyODBCConnector
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from database.deadline import Deadline
from database.pooled_connection import PooledConnection

# By ODBC driver. SQLAlchemy uses nothing of the URL but its dialect: connections come from the
# connection manager.
DIALECTS = {"sqlserver": "mssql+pyodbc://", "postgresql": "postgresql+pyodbc://"}


class ConnectionSource(Protocol):
    """A ConnectionManager, as far as SQLAlchemy needs one."""

    @property
    def engine(self) -> str:
        """The database engine, a key of DIALECTS."""

    def checkout(self, *, deadline: Deadline | None = None) -> PooledConnection:
        """A pooled connection; close() returns it."""


class PostgreSQLOverODBC(PyODBCConnector, PGDialect):
    """PostgreSQL through psqlodbc. SQLAlchemy ships no dialect for it."""

    supports_statement_cache = True


registry.register("postgresql.pyodbc", __name__, PostgreSQLOverODBC.__name__)

_lock = threading.Lock()
_engines: "weakref.WeakKeyDictionary[ConnectionSource, Engine]" = weakref.WeakKeyDictionary()
# The engine's creator takes no arguments, so the session hands its deadline over in a variable.
_deadline: ContextVar[Deadline] = ContextVar("deadline")


@contextlib.contextmanager
def session(source: ConnectionSource, deadline: Deadline) -> Iterator[Session]:
    """A session on one pooled connection of `source`, closed at the end of the `with`.

    Raises sqlalchemy.exc.DBAPIError around the driver's own error, and what source.checkout()
    raises.
    """
    token = _deadline.set(deadline)
    try:
        with Session(_engine_of(source)) as opened:
            yield opened
    finally:
        _deadline.reset(token)


def _engine_of(source: ConnectionSource) -> Engine:
    with _lock:
        engine = _engines.get(source)
        if engine is None:
            reference = weakref.ref(source)
            engine = create_engine(
                DIALECTS[source.engine],
                creator=lambda: _checkout(reference),
                poolclass=NullPool,  # the connection manager pools
            )
            _engines[source] = engine
        return engine


def _checkout(reference: "weakref.ref[ConnectionSource]") -> PooledConnection:
    source = reference()
    assert source is not None, "a session outlived its connection manager"
    return source.checkout(deadline=_deadline.get())
