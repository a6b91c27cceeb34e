"""Customers of WideWorldImporters: the samples' resource, whole."""

import re
from typing import Any

from flask import Response, request, url_for

from database.session import Answer
from operations.operation import operation
from operations.request_models import (
    Address,
    CustomerId,
    CustomerPatch,
    CustomerReplacement,
    CustomersQuery,
    NewCustomer,
    NewCustomerList,
)
from operations.response_models import CustomerAnswer, CustomerItem, Deleted
from protocol.formats import CSV, JSON, NDJSON, wanted_format
from protocol.problems import Problem
from resources.base import Procedure, ProcedureResource, json_response, or_404

# The columns of CSV that a field of more than one becomes.
COLUMNS = {"Delivery": [f"Delivery.{name}" for name in Address.model_fields]}
_FIRST_ID = re.compile(r'\[\s*\{\s*"CustomerID"\s*:\s*(\d+)')


class Customer(ProcedureResource):
    """One customer by its number."""

    database = "WWIF"
    procedures = {
        "get": Procedure("web.get_customer"),
        "put": Procedure("web.replace_customer"),
        "patch": Procedure("web.patch_customer"),
        "delete": Procedure("web.delete_customer"),
    }

    @operation(list[CustomerAnswer], tagged=True)
    def get(self, customer_id: CustomerId) -> Response:
        """One customer."""
        answer = or_404(self.read({"CustomerID": customer_id}), "such customer")
        response = json_response(answer)
        # Asked first: what it does beside, dates and ranges, costs as much as the rest of this.
        if "If-None-Match" in request.headers:
            response.make_conditional(request)
        return response

    @operation(list[CustomerAnswer], tagged=True)
    def put(self, customer_id: CustomerId, body: CustomerReplacement) -> Response:
        """Replace a customer: what is absent has no value."""
        return self._change(customer_id, body.model_dump(exclude_none=True))

    @operation(list[CustomerAnswer], tagged=True)
    def patch(self, customer_id: CustomerId, body: CustomerPatch) -> Response:
        """Change a customer: null clears, absent leaves."""
        return self._change(customer_id, body.model_dump(exclude_unset=True))

    @operation(list[Deleted], tagged=True)
    def delete(self, customer_id: CustomerId) -> Response:
        """Remove a customer."""
        return self._change(customer_id, {})

    def _change(self, customer_id: int, document: dict[str, Any]) -> Response:
        if document.get("CustomerID", customer_id) != customer_id:
            raise Problem(
                "invalid-body",
                "Values of the body are refused.",
                errors=[{"pointer": "/CustomerID", "detail": "is not the number in the path"}],
            )
        answer = self.write({**document, "CustomerID": customer_id})
        return json_response(or_404(answer, "such customer"))


class NewCustomers(ProcedureResource):
    """Where customers are made. PUT is the samples' verb for it."""

    database = "WWIF"
    procedures = dict.fromkeys(("put", "post"), Procedure("web.put_customer"))

    @operation(list[CustomerAnswer], status=201, tagged=True)
    def put(self, body: NewCustomer) -> Response:
        """Make a customer."""
        return created(self.write(body.model_dump(exclude_none=True)))

    post = put


class Customers(ProcedureResource):
    """The list, paged by key; and many made at once, all or none."""

    database = "WWIF"
    procedures = {
        "get": Procedure("web.get_customers", streams=True),
        "post": Procedure("web.put_customers"),
    }

    @operation(list[CustomerItem], media_types=(JSON, NDJSON, CSV))
    def get(self, query: CustomersQuery) -> Response:
        """The customers, a page of them or all."""
        asked = query.model_dump(exclude_none=True)
        media_type = wanted_format(asked.pop("format", None))
        if media_type != JSON or asked["limit"] == 0:
            columns = [c for name in asked["fields"] for c in COLUMNS.get(name, (name,))]
            return self.stream(asked, media_type=media_type, columns=columns)
        answer = self.read(asked)
        response = json_response(answer)
        if answer.next is not None:
            following = {**request.args.to_dict(), "after": answer.next}
            url = url_for("customers", **following)
            response.headers["Link"] = f'<{url}>; rel="next"'
        return response

    @operation(list[CustomerAnswer], status=201)
    def post(self, body: NewCustomerList) -> Response:
        """Make many customers, all or none."""
        document = {"Customers": [c.model_dump(exclude_none=True) for c in body]}
        return json_response(self.write(document), 201)


def created(answer: Answer) -> Response:
    made = _FIRST_ID.match(answer.json)
    location = {"Location": url_for("customer", customer_id=int(made[1]))} if made else {}
    return json_response(answer, 201, **location)
