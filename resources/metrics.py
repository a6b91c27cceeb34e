"""Metrics for Prometheus."""

from flask import current_app, request
from flask_restful import Resource

from operations.operation import operation
from protocol.response import Response

TEXT = "text/plain"
OPEN_METRICS = "application/openmetrics-text"


class MetricsExposition(Resource):
    """Counters, gauges and histograms, summed over all workers."""

    @operation(None, media_types=(TEXT, OPEN_METRICS))
    def get(self) -> Response:
        """Metrics of all workers, for Prometheus.

        In the text format of Prometheus, or as OpenMetrics where `Accept` prefers it.
        """
        metrics = current_app.extensions["metrics"]
        text, content_type = metrics.exposition(request.headers.get("Accept", ""))
        response = Response(text, content_type=content_type)
        response.headers["Cache-Control"] = "no-store"
        return response
