"""SQLAlchemy on the connections that the procedures use: one pool, one identity, one deadline.

Imported at the first request that needs it: the rest of the product does without.
"""

import contextlib
import threading
import weakref
from collections.abc import Iterator
from functools import partial

from flask import Flask, g
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.connectors.pyodbc import PyODBCConnector
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.pooled_connection import PooledConnection

# By ODBC driver, which is known before there is a connection. Nothing of a URL but its dialect is
# used: where to connect and as whom is the connection manager's business.
DIALECTS = {"sqlserver": "mssql+pyodbc://", "postgresql": "postgresql+pyodbc://"}


class PostgreSQLOverODBC(PyODBCConnector, PGDialect):
    """PostgreSQL through psqlodbc, for which SQLAlchemy has no dialect of its own."""

    supports_statement_cache = True


registry.register("postgresql.pyodbc", __name__, PostgreSQLOverODBC.__name__)

db = SQLAlchemy()


_making = threading.Lock()


@contextlib.contextmanager
def session(manager: ConnectionManager, deadline: Deadline) -> Iterator[Session]:
    """A session on one of the manager's connections, closed at the end of the `with`.

    Raises DBAPIError around the driver's own, and what ConnectionManager.borrow() does.
    """
    with _application(manager).app_context():
        g.deadline = deadline
        with db.session() as opened:
            yield opened


def _application(manager: ConnectionManager) -> Flask:
    """The application that Flask-SQLAlchemy wants, with an engine for one manager.

    The product's own can't be it: it would have to be given SQLAlchemy before its first request,
    and each start would wait half a second for an import that few need.
    """
    with _making:
        if manager not in _applications:
            app = Flask(__name__, static_folder=None)
            app.config["SQLALCHEMY_DATABASE_URI"] = DIALECTS[manager.engine]
            app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
                "creator": partial(_borrow, weakref.ref(manager)),
                # Pooling is done already.
                "poolclass": NullPool,
            }
            db.init_app(app)
            _applications[manager] = app
        return _applications[manager]


_applications: "weakref.WeakKeyDictionary[ConnectionManager, Flask]" = weakref.WeakKeyDictionary()


def _borrow(manager: "weakref.ref[ConnectionManager]") -> PooledConnection:
    return manager().borrow(deadline=g.deadline)
