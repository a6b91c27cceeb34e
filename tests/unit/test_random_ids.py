"""Random identifiers: UUIDs of version 4, none twice, and none that a parent process has too."""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor

from observability.random_ids import random_hex, random_uuid


def test_each_is_a_uuid_of_version_4():
    for _ in range(1000):
        text = random_uuid()
        found = uuid.UUID(text)
        assert (str(found), found.version, found.variant) == (text, 4, uuid.RFC_4122)


def test_threads_never_get_the_same_one():
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: random_hex(), range(20_000)))
    assert len(set(found)) == len(found)
    assert {len(text) for text in found} == {32}


def test_a_forked_child_shares_none_with_its_parent():
    random_hex()  # so that the parent has some left
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(random_hex() for _ in range(100)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 65_536).decode().split()
    assert len(theirs) == 100
    assert not {random_hex() for _ in range(1000)}.intersection(theirs)
    os.close(reading)
    os.close(writing)
