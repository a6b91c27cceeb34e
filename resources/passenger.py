"""Titanic passengers, read with SQLAlchemy on the connections that the procedures use.

SQLAlchemy is optional. Without it the route answers 501, and all other routes work.
"""

from importlib.util import find_spec
from typing import Any

from flask import Response, g, request, url_for
from flask_restful import Resource

from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.errors import classify
from operations.operation import operation
from operations.request_models import PassengersQuery
from operations.response_models import PassengerAnswer
from operations.row_fields import row_fields
from protocol.formats import MEDIA_TYPES, compact, wanted_format, whole
from protocol.problems import Problem
from resources.base import reads_of


def installed() -> bool:
    """Whether SQLAlchemy is installed."""
    return find_spec("sqlalchemy") is not None


class Passengers(Resource):
    """Passengers, filtered, paged by key. tables: those it reads, for `flask sql check`."""

    database = "WWIF"
    tables = ("dbo.titanic_passanger",) if installed() else ()

    @operation(list[PassengerAnswer], media_types=MEDIA_TYPES, problems=("not-installed",))
    def get(self, query: PassengersQuery) -> Response:
        """A page of the passengers.

        In the order of `id`; the header `Link` has the URL of the next page.
        """
        if not installed():
            raise Problem(
                "not-installed",
                "This route requires the package SQLAlchemy, which is not installed.",
            )
        media_type = wanted_format(query.format)
        deadline = g.deadline
        reads = reads_of(self.database)
        rows = reads.served(lambda manager: _page(query, manager, deadline), deadline)
        page = [compact(row) for row in rows[: query.limit]]
        response = whole(page, media_type, row_fields(PassengerAnswer))
        if len(rows) > query.limit:
            following: dict[str, Any] = {
                **request.args.to_dict(flat=False),
                "after": rows[query.limit - 1]["id"],
            }
            url = url_for("passengers", **following, _external=True)
            response.headers["Link"] = f'<{url}>; rel="next"'
        return response


def _page(
    query: PassengersQuery, manager: ConnectionManager, deadline: Deadline
) -> list[dict[str, Any]]:
    """The rows of the page, and one more if there is a next page.

    Raises DatabaseError, Unavailable, DeadlineExceeded.
    """
    from sqlalchemy import select
    from sqlalchemy.exc import DBAPIError

    from database.passenger_table import Passenger
    from database.sqlalchemy_session import session

    statement = select(*Passenger.__table__.columns).order_by(Passenger.id).limit(query.limit + 1)
    # The column is an integer, and PostgreSQL does not compare integers with booleans.
    survived = None if query.survived is None else int(query.survived)
    for column, value in (
        (Passenger.Survived, survived),
        (Passenger.Pclass, query.pclass),
        (Passenger.Sex, query.sex),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if query.after is not None:
        statement = statement.where(Passenger.id > query.after)
    try:
        # Closed before the response is sent, which could hold the connection for long.
        with session(manager, deadline) as opened:
            return [dict(row) for row in opened.execute(statement).mappings()]
    except DBAPIError as error:
        raise classify(error.orig or error) from None
