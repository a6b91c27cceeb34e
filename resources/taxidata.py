"""Taxi trips. Identical concurrent reads share one query."""

from typing import Any

from flask import Response

from database.session import Answer
from operations.operation import operation
from operations.request_models import Amount, AmountQuery, SummaryQuery, TaxiQuery
from operations.response_models import Trip, TripsSummary
from operations.row_fields import row_fields
from protocol.authorization import caller_claims
from protocol.consistency import asks_for_consistency
from protocol.context import app_context
from protocol.formats import JSON, MEDIA_TYPES, compact, document_text, wanted_format, whole
from resources.base import Procedure, ProcedureResource, json_response

TRIP = row_fields(Trip)
AMOUNTS = ("trips", "fare_amount", "tip_amount", "total_amount")


class TripsResource(ProcedureResource):
    """The base of the resources for trips."""

    database = "TAXI"

    def shared(self, document: dict[str, Any]) -> Response:
        """The response to a read, whose text identical concurrent requests share."""
        if asks_for_consistency(self.database):
            # An earlier result may be from a replica that lacks what this client has seen.
            return json_response(self.read(document))
        context = app_context()
        reads = context.app.extensions["shared_reads"]
        text, age = reads.get(
            document_text([self.procedure, document, caller_claims()]),
            lambda: self.read(document).json,
            deadline=context.g.deadline,
        )
        response = json_response(Answer(text))
        if reads.ttl:
            response.headers["Cache-Control"] = f"private, max-age={int(reads.ttl)}"
            response.headers["Age"] = str(int(age or 0))
        return response

    def trips(self, document: dict[str, Any]) -> Response:
        media_type = wanted_format(document.pop("format", None))
        if media_type != JSON or document["limit"] == 0:
            return self.stream(document, media_type=media_type, fields=TRIP)
        return self.shared(document)


class TaxiData(TripsResource):
    """Trips in the order of their pick-up."""

    procedures = {"get": Procedure("dbo.get_taxidata", streams=True)}

    @operation(list[Trip], media_types=MEDIA_TYPES)
    def get(self, query: TaxiQuery) -> Response:
        """Trips in the order of their pick-up, filtered.

        `pickup_from` is included, `pickup_to` is not. `limit=0`, NDJSON, CSV and
        Arrow are streamed.
        """
        return self.trips(query.model_dump(mode="json", exclude_none=True))


class TaxiDataAmount(TripsResource):
    """Trips of one total_amount."""

    procedures = {"get": Procedure("dbo.get_taxidataAmount", streams=True)}

    @operation(list[Trip], media_types=MEDIA_TYPES)
    def get(self, amount: Amount, query: AmountQuery) -> Response:
        """Trips of one total_amount.

        The amount is exact, in dollars: `20` matches 20.00.
        """
        return self.trips({"total_amount": float(amount), **query.model_dump(exclude_none=True)})


class TaxiDataSummary(TripsResource):
    """Trips, fares and tips by hour, weekday or payment type."""

    procedures = {"get": Procedure("dbo.get_taxidataSummary")}

    @operation(list[TripsSummary], media_types=MEDIA_TYPES)
    def get(self, query: SummaryQuery) -> Response:
        """Trips, fares and tips by hour, weekday or payment type.

        Hours are 0 to 23; weekday 1 is Monday; payment type 1 is credit card, 2 is cash.
        """
        media_type = wanted_format(query.format)
        response = self.shared(query.model_dump(exclude={"format"}))
        if media_type == JSON:
            return response
        rows = [compact(row) for row in response.get_json()]
        made = whole(rows, media_type, row_fields(TripsSummary, (query.by, *AMOUNTS)))
        made.headers.extend((n, v) for n, v in response.headers if n in ("Age", "Cache-Control"))
        return made
