"""Short lists are no streams: MAX_STREAMS limits the lists that hold their connection."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from testkit.api_client import Api
from tests.foreign.conftest import serving

CLIENTS, READS = 16, 5


def test_short_lists_at_the_same_time_are_not_limited(folder, shop):
    with serving(folder, workers=1, MAX_STREAMS="1", **shop) as server:

        def read(_: int) -> set[int]:
            with Api(server.url) as api:
                return {api.get("/answer").status_code for _ in range(READS)}

        with ThreadPoolExecutor(CLIENTS) as clients:
            assert set().union(*clients.map(read, range(CLIENTS))) == {200}
