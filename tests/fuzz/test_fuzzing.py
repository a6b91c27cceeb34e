"""What the OpenAPI document promises, the API keeps, for requests that nobody thought of."""

import pytest

from testkit.fuzz.fuzzing import fuzz
from testkit.server import Server

# The same requests every time; `python -m bench.fuzz` makes up new ones, and more.
SEED = 20_190_131


@pytest.fixture(scope="module")
def own(run_folder, worker_id):
    """A server of its own: what is made up deletes customers that other tests know."""
    with Server(run_folder / f"fuzz-{worker_id}") as server:
        yield server


def test_no_check_of_schemathesis_fails(own):
    outcome = fuzz(own.url, max_examples=3, seed=SEED)
    assert outcome.passed, outcome.report
    assert outcome.cases > 1_000
