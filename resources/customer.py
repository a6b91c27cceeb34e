"""Customers of WideWorldImporters."""

import re
from typing import Any

from flask import Response, request, url_for

from database.errors import DatabaseError
from database.session import Answer
from operations.operation import operation
from operations.request_models import (
    CustomerId,
    CustomerPatch,
    CustomerReplacement,
    CustomersQuery,
    NewCustomer,
    NewCustomerList,
)
from operations.response_models import CustomerAnswer, CustomerItem, Deleted
from operations.row_fields import row_fields
from protocol.context import request_context
from protocol.formats import JSON, MEDIA_TYPES, wanted_format
from protocol.problems import Problem
from resources.base import Procedure, ProcedureResource, json_response, or_404

_FIRST_ID = re.compile(r'\[\s*\{\s*"CustomerID"\s*:\s*(\d+)')


class UniqueNames(ProcedureResource):
    """A resource whose writes give one customer a name that no other has."""

    database = "WWIF"

    def write(self, document: dict[str, Any]) -> Answer:
        try:
            return super().write(document)
        except DatabaseError as error:
            if not error.duplicate:
                raise
            # The sentence of web.put_customers.
            raise Problem("conflict", "A customer of this name exists.") from None


class Customer(UniqueNames):
    """One customer by its number."""

    procedures = {
        "get": Procedure("web.get_customer"),
        "put": Procedure("web.replace_customer"),
        "patch": Procedure("web.patch_customer"),
        "delete": Procedure("web.delete_customer"),
    }

    @operation(list[CustomerAnswer], tagged=True)
    def get(self, customer_id: CustomerId) -> Response:
        """One customer.

        With `If-None-Match` and a current ETag the response is 304, without a body.
        """
        answer = or_404(self.read({"CustomerID": customer_id}), "such customer")
        response = json_response(answer)
        # Only if needed: make_conditional also parses dates and ranges, which doubles the time.
        current = request_context().request
        if "HTTP_IF_NONE_MATCH" in current.environ:
            response.make_conditional(current)
        return response

    @operation(list[CustomerAnswer], tagged=True)
    def put(self, customer_id: CustomerId, body: CustomerReplacement) -> Response:
        """Replace a customer; absent keys have no value.

        With `If-Match` the change is made only if the customer has not changed since.
        """
        return self._change(customer_id, body.model_dump(exclude_none=True))

    @operation(list[CustomerAnswer], tagged=True)
    def patch(self, customer_id: CustomerId, body: CustomerPatch) -> Response:
        """Change a customer; null clears a key, absent keys stay.

        With `If-Match` the change is made only if the customer has not changed since.
        """
        return self._change(customer_id, body.model_dump(exclude_unset=True))

    @operation(list[Deleted], tagged=True)
    def delete(self, customer_id: CustomerId) -> Response:
        """Delete a customer.

        Returns the number of the deleted customer, or 404 if there is none.
        """
        return self._change(customer_id, {})

    def _change(self, customer_id: int, document: dict[str, Any]) -> Response:
        if document.get("CustomerID", customer_id) != customer_id:
            raise Problem(
                "invalid-body",
                "The body has invalid values.",
                errors=[
                    {"pointer": "/CustomerID", "detail": "differs from the number in the path"}
                ],
            )
        answer = self.write({**document, "CustomerID": customer_id})
        return json_response(or_404(answer, "such customer"))


class NewCustomers(UniqueNames):
    """The creation of customers. The original sample does it with PUT."""

    procedures = dict.fromkeys(("put", "post"), Procedure("web.put_customer"))

    @operation(list[CustomerAnswer], status=201, tagged=True)
    def put(self, body: NewCustomer) -> Response:
        """Create a customer.

        Names are unique: another customer of this name is a conflict. PUT and POST do the same.
        """
        return created(self.write(body.model_dump(exclude_none=True)))

    post = put


class Customers(ProcedureResource):
    """The list, paged by key; and the creation of many customers, all or none."""

    database = "WWIF"
    procedures = {
        "get": Procedure("web.get_customers", streams=True),
        "post": Procedure("web.put_customers"),
    }

    @operation(list[CustomerItem], media_types=MEDIA_TYPES)
    def get(self, query: CustomersQuery) -> Response:
        """A page of the customers, or all.

        The header `Link` has the URL of the next page. `limit=0`, NDJSON, CSV and
        Arrow are streamed.
        """
        document = query.model_dump(exclude_none=True)
        media_type = wanted_format(document.pop("format", None))
        if media_type != JSON or document["limit"] == 0:
            fields = row_fields(CustomerItem, document["fields"])
            return self.stream(document, media_type=media_type, fields=fields)
        answer = self.read(document)
        response = json_response(answer)
        if answer.next is not None:
            following: dict[str, Any] = {**request.args.to_dict(flat=False), "after": answer.next}
            url = url_for("customers", **following, _external=True)
            response.headers["Link"] = f'<{url}>; rel="next"'
        return response

    @operation(list[CustomerAnswer], status=201)
    def post(self, body: NewCustomerList) -> Response:
        """Create many customers, all or none.

        Takes 1 to 1,000 customers. If one is invalid or its name exists, none is created.
        """
        document = {"Customers": [c.model_dump(exclude_none=True) for c in body]}
        return json_response(self.write(document), 201)


def created(answer: Answer) -> Response:
    """201 with the location of the new customer."""
    found = _FIRST_ID.match(answer.json)
    # Not by url_for(), which makes a tenth of the calls of the whole request.
    location = {"Location": f"{request.root_path}/customer/{found[1]}"} if found else {}
    return json_response(answer, 201, **location)
