"""Agents call tools over two workers while the catalog changes and SIGHUP replaces the workers.

The short form of `python -m bench.tool_load`, which makes 10,000 calls over four workers.
"""

from __future__ import annotations

from testkit.tool_load import calls_during_reloads, tool_server

CALLS = 160


def test_no_call_fails_and_no_write_is_doubled(folder):
    settings = {"workers": 2, "CATALOG_SECONDS": "0.5"}
    with tool_server(f"tools-{folder.parent.name}", **settings) as (server, cluster):
        report = calls_during_reloads(server, cluster, calls=CALLS, agents=8, reloads=1)
    assert not report.wrong, report.wrong[:5]
    assert report.calls.total() == CALLS
    assert report.reloads == 1
    assert report.changes
