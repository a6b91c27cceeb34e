"""The last 15 minutes of the server: rates, latencies, pools and problems."""

from flask import Response, current_app
from flask_restful import Resource

from operations.operation import operation
from operations.response_models import Figures
from protocol.formats import JSON, compact
from resources.pages import HTML, page


class Status(Resource):
    """The page, which has no figures of its own."""

    @operation(None, media_types=(HTML,), documented=False)
    def get(self) -> Response:
        """Rates, latencies, connections and problems of the last 15 minutes."""
        return page("status.html")


class StatusFigures(Resource):
    """What the page shows."""

    @operation(Figures)
    def get(self) -> Response:
        """Figures of the last 15 minutes, summed over all workers.

        Times are estimated from the histograms of `/metrics`, so they are exact to the distance of
        two bounds. Problems have no paths and no values; find the rest in the log by the request's
        id.
        """
        response = Response(compact(current_app.extensions["recent"].summary()), mimetype=JSON)
        response.headers["Cache-Control"] = "no-store"
        return response
