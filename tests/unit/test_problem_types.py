"""docs/problems.md lists every problem type, as the code has it."""

import re

import pytest

from database.errors import DatabaseError, Kind
from protocol.problems import PROBLEM_TYPES, problem_of
from settings import ROOT

ROW = re.compile(r"^\| `(.+?)` \| (\d{3}) \| (.+?) \| (.+) \|$", re.MULTILINE)


def test_the_table_is_that_of_the_code():
    told = ROW.findall((ROOT / "docs" / "problems.md").read_text(encoding="utf-8"))
    known = [(p.uri, str(p.status), p.title, p.meaning) for p in PROBLEM_TYPES.values()]
    assert told == known


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (DatabaseError(Kind.FULL, wait=30), 503, "30"),
        (DatabaseError(Kind.FAULTY), 500, None),
        (DatabaseError(Kind.NO_SUCH_OBJECT), 500, None),
        (DatabaseError(Kind.WRONG_PARAMETERS), 500, None),
    ],
)
def test_what_a_failure_of_the_database_is_to_the_client(error, status, retry_after):
    problem = problem_of(error)
    assert (problem.status, problem.headers.get("Retry-After")) == (status, retry_after)
