"""docs/problems.md lists every problem type, as the code has it."""

import re

from protocol.problems import PROBLEM_TYPES
from settings import ROOT

ROW = re.compile(r"^\| `(.+?)` \| (\d{3}) \| (.+?) \| (.+) \|$", re.MULTILINE)


def test_the_table_is_that_of_the_code():
    told = ROW.findall((ROOT / "docs" / "problems.md").read_text(encoding="utf-8"))
    known = [(p.uri, str(p.status), p.title, p.meaning) for p in PROBLEM_TYPES.values()]
    assert told == known
