"""Agents call tools over four workers while the catalog changes and SIGHUP replaces the workers.

The short form of `python -m bench.tool_load`, which makes 10,000 calls.
"""

from __future__ import annotations

from testkit.tool_load import calls_during_reloads, tool_server

CALLS, RELOADS = 320, 2


def test_no_call_fails_and_no_write_is_doubled(folder):
    with tool_server(f"tools-{folder.parent.name}", CATALOG_SECONDS="0.5") as (server, cluster):
        report = calls_during_reloads(server, cluster, calls=CALLS, agents=8, reloads=RELOADS)
    assert not report.wrong, report.wrong[:5]
    assert report.calls.total() == CALLS
    assert report.reloads == RELOADS
    assert report.changes
