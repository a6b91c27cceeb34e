"""A million typed rows are streamed in every format, and the server's memory stays flat."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.api_client import Api
from testkit.observed_server import serve
from tests.foreign.conftest import SERVED, wait_until_read

ROWS = 1_000_000
# A million rows of this list are 60 MB of JSON, and several times that as Python objects.
MOST_MEGABYTES = 20


def peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


@pytest.fixture(scope="module")
def single(engine, run_folder, shop):
    folder = run_folder / f"memory-{engine}"
    settings = {**SERVED, **shop, "CATALOG_SECONDS": "86400"}
    with serve(run_folder / f"{folder.name}.log", folder, workers=1, **settings) as served:
        wait_until_read(f"http://127.0.0.1:{served.port}", workers=1)
        yield served


@pytest.mark.parametrize("form", ["json", "ndjson", "csv", "arrow"])
def test_a_long_list_takes_no_more_memory_than_a_short_one(single, form):
    with Api(f"http://127.0.0.1:{single.port}") as api:
        assert api.get(f"/numbers?upto=1000&format={form}").status_code == 200
        (worker,) = single.workers()
        before = peak_megabytes(worker)
        size, last = 0, b""
        path = f"/numbers?upto={ROWS}&format={form}"
        with api.get(path, stream=True, timeout=300) as response:
            for piece in response.iter_content(1 << 20):
                size += len(piece)
                last = (last + piece)[-200:]
    if form != "arrow":
        assert f"number {ROWS}".encode() in last
    assert size > 20 * ROWS
    assert peak_megabytes(worker) - before < MOST_MEGABYTES
