"""Titanic passengers: read by SQLAlchemy, on the connections that the procedures use.

SQLAlchemy is optional. Without it the route answers 501, and nothing else changes.
"""

from importlib.util import find_spec
from typing import Any

from flask import Response, current_app, g, request, url_for
from flask_restful import Resource

from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.errors import classify
from database.session import Answer
from operations.operation import operation
from operations.request_models import PassengersQuery
from operations.response_models import PassengerAnswer
from protocol.formats import compact
from protocol.problems import Problem
from resources.base import json_response


def installed() -> bool:
    """Whether this process could import what passengers need."""
    return find_spec("sqlalchemy") is not None


class Passengers(Resource):
    """The list, filtered, paged by key. `tables`: what is read, for `flask sql check`."""

    database = "WWIF"
    tables = ("dbo.titanic_passanger",) if installed() else ()

    @operation(list[PassengerAnswer], problems=("not-installed",))
    def get(self, query: PassengersQuery) -> Response:
        """The passengers, a page of them."""
        if not installed():
            raise Problem("not-installed", "Passengers need the package SQLAlchemy.")
        manager = current_app.extensions["databases"].manager(self.database)
        deadline = g.deadline
        rows = manager.retried(lambda: _page(query, manager, deadline), deadline)
        response = json_response(Answer(compact(rows[: query.limit])))
        if len(rows) > query.limit:
            following = {**request.args.to_dict(), "after": rows[query.limit - 1]["id"]}
            response.headers["Link"] = f'<{url_for("passengers", **following)}>; rel="next"'
        return response


def _page(
    asked: PassengersQuery, manager: ConnectionManager, deadline: Deadline
) -> list[dict[str, Any]]:
    """The rows asked for and one more, which tells that there is a next page.

    Raises DatabaseError, Unavailable, DeadlineExceeded.
    """
    from sqlalchemy import select
    from sqlalchemy.exc import DBAPIError

    from database.sqlalchemy_session import session
    from resources.passenger_table import Passenger

    statement = select(*Passenger.__table__.columns).order_by(Passenger.id).limit(asked.limit + 1)
    # An integer column, which PostgreSQL does not compare with a boolean.
    survived = None if asked.survived is None else int(asked.survived)
    for column, value in (
        (Passenger.Survived, survived),
        (Passenger.Pclass, asked.pclass),
        (Passenger.Sex, asked.sex),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if asked.after is not None:
        statement = statement.where(Passenger.id > asked.after)
    try:
        # Closed at once: the answer need not hold a connection while it is sent.
        with session(manager, deadline) as opened:
            return [dict(row) for row in opened.execute(statement).mappings()]
    except DBAPIError as error:
        raise classify(error.orig) from None
