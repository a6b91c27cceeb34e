"""The API keeps the promises of its OpenAPI document for generated requests, with the sample's
routes and with procedures of the catalog."""

import pytest
import requests

from testkit.fuzz.fuzzing import fuzz
from testkit.procedures import procedure_server

# The same requests every time; `python -m bench.fuzz` generates new ones, and more.
SEED = 20_190_131


@pytest.fixture(scope="module")
def own(run_folder, worker_id):
    """A server of its own, because generated requests delete customers that other tests use."""
    with procedure_server(run_folder / f"fuzz-{worker_id}") as server:
        yield server


def test_the_document_has_operations_of_the_catalog(own):
    paths = requests.get(f"{own.url}/openapi.json", timeout=30).json()["paths"]
    assert {"/customer/{customer_id}", "/order/{order_id}", "/orders", "/values"} <= paths.keys()


def test_no_check_of_schemathesis_fails(own):
    outcome = fuzz(own.url, max_examples=3, seed=SEED)
    assert outcome.passed, outcome.report
    assert outcome.cases > 1_000
