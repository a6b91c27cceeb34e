"""Taxi trips: read only, and identical reads at one time share one query."""

import re
from typing import Any

from flask import Response, current_app, g

from database.session import Answer
from resources.base import ProcedureResource, compact, json_response, query
from resources.problems import Problem
from resources.representations import JSON, wanted_format
from resources.schemas import AmountQuery, SummaryQuery, TaxiQuery

# Amounts of dollars and cents; a float column can't hold many more digits exactly.
_AMOUNT = re.compile(r"-?\d{1,7}(?:\.\d{1,6})?")
COLUMNS = (
    *("VendorID", "tpep_pickup_datetime", "tpep_dropoff_datetime", "passenger_count"),
    *("trip_distance", "RatecodeID", "store_and_fwd_flag", "PULocationID", "DOLocationID"),
    *("payment_type", "fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount"),
    *("improvement_surcharge", "total_amount", "congestion_surcharge"),
)


class TripsResource(ProcedureResource):
    """What the resources of trips share."""

    database = "TAXI"

    def shared(self, procedure: str, document: dict[str, Any]) -> Response:
        """The answer to a read, shared with whoever asks the same at this moment."""
        reads = current_app.extensions["shared_reads"]
        text, age = reads.get(
            procedure + compact(document),
            lambda: self.call(procedure, document).json,
            deadline=g.deadline,
        )
        response = json_response(Answer(text))
        if reads.ttl:
            response.headers["Cache-Control"] = f"private, max-age={int(reads.ttl)}"
            response.headers["Age"] = str(int(age or 0))
        return response

    def trips(self, procedure: str, asked: dict[str, Any]) -> Response:
        media_type = wanted_format(asked.pop("format", None))
        if media_type != JSON or asked["limit"] == 0:
            return self.stream(procedure, asked, media_type=media_type, columns=COLUMNS)
        return self.shared(procedure, asked)


class TaxiData(TripsResource):
    """Trips in the order of their pick-up."""

    def get(self) -> Response:
        return self.trips(
            "dbo.get_taxidata", query(TaxiQuery).model_dump(mode="json", exclude_none=True)
        )


class TaxiDataAmount(TripsResource):
    """Trips of one total_amount."""

    def get(self, amount: str) -> Response:
        if not _AMOUNT.fullmatch(amount):
            raise Problem("invalid-path", "The amount must be a number such as 20 or 7.8.")
        asked = query(AmountQuery).model_dump(exclude_none=True)
        return self.trips("dbo.get_taxidataAmount", {"total_amount": float(amount), **asked})


class TaxiDataSummary(TripsResource):
    """Trips, fares and tips by hour, weekday or payment type."""

    def get(self) -> Response:
        return self.shared("dbo.get_taxidataSummary", query(SummaryQuery).model_dump())
