"""Customers of WideWorldImporters: the samples' resource, whole."""

import re
from typing import Any

from flask import Response, request, url_for

from database.session import Answer
from resources.base import ProcedureResource, body, found, json_response, query
from resources.problems import Problem
from resources.representations import JSON, wanted_format
from resources.schemas import (
    INT_MAX,
    Address,
    CustomerPatch,
    CustomerReplacement,
    CustomersQuery,
    NewCustomer,
    NewCustomerList,
)

# The columns of CSV that a field of more than one becomes.
COLUMNS = {"Delivery": [f"Delivery.{name}" for name in Address.model_fields]}
_FIRST_ID = re.compile(r'\[\s*\{\s*"CustomerID"\s*:\s*(\d+)')


class Customer(ProcedureResource):
    """One customer by its number."""

    database = "WWIF"

    def get(self, customer_id: int) -> Response:
        document = {"CustomerID": known(customer_id)}
        answer = found(self.call("web.get_customer", document), "such customer")
        return json_response(answer).make_conditional(request)

    def put(self, customer_id: int) -> Response:
        document = body(CustomerReplacement).model_dump(exclude_none=True)
        return self._change("web.replace_customer", customer_id, document)

    def patch(self, customer_id: int) -> Response:
        document = body(CustomerPatch).model_dump(exclude_unset=True)
        return self._change("web.patch_customer", customer_id, document)

    def delete(self, customer_id: int) -> Response:
        return self._change("web.delete_customer", customer_id, {})

    def _change(self, procedure: str, customer_id: int, document: dict[str, Any]) -> Response:
        known(customer_id)
        if document.get("CustomerID", customer_id) != customer_id:
            raise Problem(
                "invalid-body",
                "Values of the body are refused.",
                errors=[{"pointer": "/CustomerID", "detail": "is not the number in the path"}],
            )
        answer = self.write(procedure, {**document, "CustomerID": customer_id})
        return json_response(found(answer, "such customer"))


class NewCustomers(ProcedureResource):
    """Where customers are made. PUT is the samples' verb for it."""

    database = "WWIF"

    def put(self) -> Response:
        document = body(NewCustomer).model_dump(exclude_none=True)
        return created(self.write("web.put_customer", document))

    post = put


class Customers(ProcedureResource):
    """The list, paged by key; and many made at once, all or none."""

    database = "WWIF"

    def get(self) -> Response:
        asked = query(CustomersQuery).model_dump(exclude_none=True)
        media_type = wanted_format(asked.pop("format", None))
        if media_type != JSON or asked["limit"] == 0:
            columns = [c for name in asked["fields"] for c in COLUMNS.get(name, (name,))]
            return self.stream("web.get_customers", asked, media_type=media_type, columns=columns)
        answer = self.call("web.get_customers", asked)
        response = json_response(answer)
        if answer.next is not None:
            following = {**request.args.to_dict(), "after": answer.next}
            url = url_for("customers", **following)
            response.headers["Link"] = f'<{url}>; rel="next"'
        return response

    def post(self) -> Response:
        customers = body(NewCustomerList)
        document = {"Customers": [c.model_dump(exclude_none=True) for c in customers]}
        return json_response(self.write("web.put_customers", document), 201)


def known(customer_id: int) -> int:
    """`customer_id`, or 404 where no integer column can hold it."""
    if not 0 < customer_id <= INT_MAX:
        raise Problem("not-found", "There is no such customer.")
    return customer_id


def created(answer: Answer) -> Response:
    made = _FIRST_ID.match(answer.json)
    location = {"Location": url_for("customer", customer_id=int(made[1]))} if made else {}
    return json_response(answer, 201, **location)
