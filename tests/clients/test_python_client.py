"""A client that openapi-python-client generates from the document calls five operations."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("openapi-python-client needs Python 3.11", allow_module_level=True)

PACKAGE = "orders_client"


@pytest.fixture(scope="module")
def generated(document: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """import_module(name) of the generated package."""
    folder = tmp_path_factory.mktemp("python-client")
    configuration = folder / "configuration.yml"
    configuration.write_text("post_hooks: []\n")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
            *("--path", str(document), "--output-path", str(folder / PACKAGE)),
            *("--config", str(configuration), "--fail-on-warning"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    sys.path.insert(0, str(folder))
    yield lambda name: importlib.import_module(f"{PACKAGE}.{name}")
    sys.path.remove(str(folder))


@pytest.fixture
def orders(generated: Callable[[str], ModuleType], served: Any) -> Iterator[Callable[..., Any]]:
    """Call an operation on orders by the name of its module."""
    arguments = {"raise_on_unexpected_status": True, "httpx_args": {"trust_env": False}}
    with generated("client").Client(base_url=served.url, **arguments) as client:
        yield lambda name, *path, **values: generated(f"api.order.{name}").sync_detailed(
            *path, client=client, **values
        )


def test_a_list_is_filtered(orders):
    found = orders("list_orders", customer="Customer 7").parsed
    assert [(o.order_id, o.amount, o.note) for o in found] == [(7, 10.5, None)]


def test_one_row_is_read_and_a_missing_one_is_a_problem(orders):
    (order,) = orders("get_order", 7).parsed
    assert (order.customer, order.ordered_on.isoformat()) == ("Customer 7", "2026-01-31")
    missing = orders("get_order", 4_000_000)
    assert (missing.status_code, missing.parsed.status) == (404, 404)


def test_a_row_is_created_once_with_a_key(orders, generated):
    body = generated("models").CreateOrderBody(customer="Corner Shop", amount=12.25)
    first, second = (
        orders("create_order", body=body, idempotency_key="python-client") for _ in range(2)
    )
    assert (first.status_code, second.headers["Idempotency-Replayed"]) == (201, "true")
    assert first.parsed == second.parsed
    (order,) = first.parsed
    assert first.headers["Location"] == f"/order/{order.order_id}"
    assert len(orders("list_orders", customer="Corner Shop").parsed) == 1


def test_a_row_is_updated(orders, generated):
    body = generated("models").UpdateOrderBody(note="from Python")
    (order,) = orders("update_order", 8, body=body).parsed
    assert (order.order_id, order.note) == (8, "from Python")


def test_another_verb_is_called_and_its_refusal_is_a_problem(orders):
    (order,) = orders("approve_order", 9).parsed
    assert order.approved is True
    refused = orders("approve_order", 10).parsed
    assert (refused.status, refused.detail) == (409, "The order is on hold.")
