"""Taxi trips: read only."""

import re

from flask import Response

from resources.base import ProcedureResource, json_response, query
from resources.problems import Problem
from resources.schemas import AmountQuery, TaxiQuery

# Amounts of dollars and cents; a float column can't hold many more digits exactly.
_AMOUNT = re.compile(r"-?\d{1,7}(?:\.\d{1,6})?")


class TaxiData(ProcedureResource):
    """Trips in the order of their pick-up."""

    database = "TAXI"

    def get(self) -> Response:
        asked = query(TaxiQuery).model_dump(mode="json", exclude_none=True)
        return json_response(self.call("dbo.get_taxidata", asked))


class TaxiDataAmount(ProcedureResource):
    """Trips of one total_amount."""

    database = "TAXI"

    def get(self, amount: str) -> Response:
        if not _AMOUNT.fullmatch(amount):
            raise Problem("invalid-path", "The amount must be a number such as 20 or 7.8.")
        asked = query(AmountQuery).model_dump()
        return json_response(
            self.call("dbo.get_taxidataAmount", {"total_amount": float(amount), **asked})
        )
