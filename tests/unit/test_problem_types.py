"""docs/problems.md lists the problem types of the code; database errors map to documented ones."""

import re

import pytest

from database.errors import DatabaseError, Kind
from protocol.problems import PROBLEM_TYPES, problem_of
from settings import ROOT

ROW = re.compile(r"^\| `(.+?)` \| (\d{3}) \| (.+?) \| (.+) \|$", re.MULTILINE)


def test_the_documented_problem_types_are_those_of_the_code():
    documented = ROW.findall((ROOT / "docs" / "problems.md").read_text(encoding="utf-8"))
    declared = [(p.uri, str(p.status), p.title, p.meaning) for p in PROBLEM_TYPES.values()]
    assert documented == declared


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (DatabaseError(Kind.FULL, wait=30), 503, "30"),
        (DatabaseError(Kind.FAULTY), 500, None),
        (DatabaseError(Kind.NO_SUCH_OBJECT), 500, None),
        (DatabaseError(Kind.WRONG_PARAMETERS), 500, None),
    ],
)
def test_a_database_error_becomes_a_status_and_retry_after(error, status, retry_after):
    problem = problem_of(error)
    assert (problem.status, problem.headers.get("Retry-After")) == (status, retry_after)


def test_a_status_set_by_a_procedure_without_a_type_of_its_own_is_a_procedure_error():
    problem = problem_of(DatabaseError(Kind.CHOSEN, status=418, message="No coffee."))
    assert (problem.type.slug, problem.status, problem.detail) == (
        "procedure-error",
        418,
        "No coffee.",
    )
