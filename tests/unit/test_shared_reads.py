"""What is answered quickly is not worth the way over a file; what takes long is."""

import shutil
import time

import pytest

from database.deadline import Deadline
from protocol.shared_reads import WORTH_SHARING_SECONDS, SharedReads


@pytest.fixture
def outcomes():
    return []


@pytest.fixture
def reads(tmp_path, outcomes):
    return SharedReads(tmp_path / "reads", observe=lambda e: outcomes.append(e.outcome))


def slowly():
    time.sleep(2 * WORTH_SHARING_SECONDS)
    return "slow"


def test_a_question_that_was_quick_needs_no_file(reads, tmp_path, outcomes):
    assert reads.get("q", lambda: "quick", deadline=Deadline(5)) == ("quick", None)
    shutil.rmtree(tmp_path / "reads")
    assert reads.get("q", lambda: "again", deadline=Deadline(5)) == ("again", None)
    assert outcomes == ["asked", "asked"]


def test_another_question_or_one_that_became_slow_does(reads, tmp_path):
    reads.get("q", lambda: "quick", deadline=Deadline(5))
    assert reads.get("q", slowly, deadline=Deadline(5)) == ("slow", None)
    shutil.rmtree(tmp_path / "reads")
    for question in ("q", "other"):
        with pytest.raises(FileNotFoundError):
            reads.get(question, lambda: "quick", deadline=Deadline(5))
