"""Identical reads share one query: slow ones through a file, fast ones within a worker only."""

import hashlib
import os
import resource
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from database.deadline import Deadline
from protocol.shared_reads import POLL_SECONDS, WORTH_SHARING_SECONDS, SharedReads


@pytest.fixture
def outcomes():
    return []


@pytest.fixture
def reads(tmp_path, outcomes):
    return SharedReads(tmp_path / "reads", observe=lambda e: outcomes.append(e.outcome))


def slowly():
    time.sleep(2 * WORTH_SHARING_SECONDS)
    return "slow"


def test_a_fast_query_uses_no_file(reads, tmp_path, outcomes):
    assert reads.get("q", lambda: "quick", deadline=Deadline(5)) == ("quick", None)
    shutil.rmtree(tmp_path / "reads")
    assert reads.get("q", lambda: "again", deadline=Deadline(5)) == ("again", None)
    assert outcomes == ["asked", "asked"]


def test_other_queries_and_slow_ones_use_a_file(reads, tmp_path):
    reads.get("q", lambda: "quick", deadline=Deadline(5))
    assert reads.get("q", slowly, deadline=Deadline(5)) == ("slow", None)
    shutil.rmtree(tmp_path / "reads")
    for question in ("q", "other"):
        reads.get(question, lambda: "quick", deadline=Deadline(5))
        # The folder exists again after a query that uses a file.
        (tmp_path / "reads").rmdir()


TTL = 60.0
QUESTION = "q"


def file_of(folder):
    return folder / hashlib.sha256(QUESTION.encode()).hexdigest()


def from_another_worker(folder, answer):
    """The text that another worker gets, whose own query would return `answer`."""
    return SharedReads(folder, ttl=TTL).get(QUESTION, lambda: answer, deadline=Deadline(5))[0]


def test_a_result_is_reused_by_other_workers(tmp_path):
    assert from_another_worker(tmp_path, "first") == "first"
    assert from_another_worker(tmp_path, "second") == "first"


GARBAGE = (
    *(b"", b"garbage", b"\x00" * 1000, b"\n" * 1000, b"[1, 2]\n" * 1000, b"9" * 5000),
    *(b"00000000000000000005\n\xff\xfe\xff\xfe\xff", b"0000000000000000000-5\nfirst"),
    *(b"00000000000000000009\nfirst", b"00000000000000000001\nfirst", b"7" * 20),
)


@pytest.mark.parametrize("content", GARBAGE, ids=lambda content: repr(content[:24]))
def test_a_damaged_file_is_a_miss_and_is_replaced(content, tmp_path):
    from_another_worker(tmp_path, "first")
    file_of(tmp_path).write_bytes(content)
    assert from_another_worker(tmp_path, "second") == "second"
    assert from_another_worker(tmp_path, "third") == "second"


def test_a_result_with_a_future_date_is_a_miss(tmp_path):
    from_another_worker(tmp_path, "first")
    later = time.time() + 86_400
    os.utime(file_of(tmp_path), (later, later))
    assert from_another_worker(tmp_path, "second") == "second"
    assert from_another_worker(tmp_path, "third") == "second"


def test_a_full_disk_is_a_miss_and_logged_once(tmp_path, caplog):
    file_of(tmp_path).symlink_to("/dev/full")
    reads = SharedReads(tmp_path, ttl=TTL)
    for number in range(3):
        answer = reads.get(QUESTION, lambda n=number: f"{n}", deadline=Deadline(5))[0]
        assert answer == str(number)
        file_of(tmp_path).unlink(missing_ok=True)
        file_of(tmp_path).symlink_to("/dev/full")
    assert [r.levelname for r in caplog.records] == ["WARNING"]


def test_a_partly_written_result_is_a_miss(tmp_path):
    from_another_worker(tmp_path, "first")
    os.utime(file_of(tmp_path), (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        assert from_another_worker(tmp_path, "x" * 1000) == "x" * 1000
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert from_another_worker(tmp_path, "second") == "second"


@pytest.mark.parametrize("obstacle", ["a file for the folder", "a folder for the file"])
def test_without_usable_files_each_worker_runs_its_query(obstacle, tmp_path, caplog):
    folder = tmp_path / "reads"
    if obstacle == "a file for the folder":
        folder.touch()
    else:
        file_of(folder).mkdir(parents=True)
    reads = SharedReads(folder, ttl=TTL)
    for number in range(3):
        answer = reads.get(QUESTION, lambda n=number: f"{n}", deadline=Deadline(5))
        assert answer == (str(number), None)
    (record,) = caplog.records
    assert record.getMessage().startswith("reads are not shared among workers: ")


def test_the_folder_is_created_at_the_first_read(tmp_path):
    SharedReads(tmp_path / "reads", ttl=TTL)
    assert not (tmp_path / "reads").exists()


def test_a_failed_query_leaves_no_old_result(tmp_path):
    from_another_worker(tmp_path, "old")
    os.utime(file_of(tmp_path), (0, 0))
    begun, waiting = threading.Event(), threading.Event()

    def fail():
        begun.set()
        waiting.wait(5)
        time.sleep(4 * POLL_SECONDS)
        raise OSError("of the database, not of the cache")

    with ThreadPoolExecutor(2) as threads:
        first = SharedReads(tmp_path, ttl=TTL)
        failing = threads.submit(first.get, QUESTION, fail, deadline=Deadline(10))
        begun.wait(5)
        second = threads.submit(from_another_worker, tmp_path, "new")
        waiting.set()
        with pytest.raises(OSError, match="of the database"):
            failing.result()
        assert second.result() == "new"
