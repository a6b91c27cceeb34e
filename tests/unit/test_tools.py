"""Which operations are tools."""

from dataclasses import replace

import pytest

from operations.tools import tools_of
from resources.customer import Customer
from testkit.routes import application


@pytest.fixture
def app(tmp_path):
    with application(tmp_path) as made:
        yield made


def test_a_private_method_of_a_resource_is_no_tool(app, monkeypatch):
    assert "delete_customer" in tools_of(app)
    private = replace(Customer.delete.operation, private=True)
    monkeypatch.setattr(Customer.delete, "operation", private)
    assert "delete_customer" not in tools_of(app)
    assert "get_customer" in tools_of(app)


def test_a_tool_requires_the_group_of_its_route(app):
    groups = {name: tool.group for name, tool in tools_of(app).items()}
    assert groups["get_customer"] == "read"
    assert groups["create_customer"] == "write"


def test_unknown_and_missing_arguments_are_named_together(app):
    tool = tools_of(app)["get_customer"]
    assert tool.misnamed({"customer": 1}) == [
        "customer is unknown; customer_id is known.",
        "customer_id is required.",
    ]
