"""The protocol's conformance suite, all of its server scenarios in both revisions.

docs/mcp.md says why the checks in NOT_APPLICABLE do not apply.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from settings import ROOT
from testkit.agent import HANDSHAKE, STATELESS

SUITE = ROOT / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
NODE20 = Path(__file__).with_name("node20.mjs")
WITH_TIME = re.compile(r"-\d{4}-\d\d-\d\dT.*")
# Scenarios without a failed check, and what they are about.
PASSED = {
    STATELESS: {
        *("tools-list", "tools-call-simple-text", "tools-call-error", "http-header-validation"),
        *("dns-rebinding-protection", "server-sse-multiple-streams"),
        "input-required-result-unsupported-methods",
        "input-required-result-validate-input",
    },
    HANDSHAKE: {
        *("server-initialize", "ping", "tools-list", "tools-call-simple-text", "tools-call-error"),
        *("dns-rebinding-protection", "server-session-lifecycle"),
    },
}
# Of two more scenarios, the checks that fail; all others of theirs pass.
PASSED_IN_PART = {
    "server-stateless": {
        "sep-2575-server-rejects-undeclared-capability",
        "sep-2575-missing-capability-http-400",
        "sep-2575-http-server-no-independent-requests-on-stream",
        "sep-2575-server-no-log-without-loglevel",
    },
    "caching": {
        "sep-2549-prompts-list-caching-hints",
        "sep-2549-resources-list-caching-hints",
        "sep-2549-resources-templates-list-caching-hints",
    },
}
# Scenarios of features that this server does not have, by the beginnings of their names.
NOT_APPLICABLE = (
    *("resources-", "prompts-", "completion-", "logging-", "elicitation-", "sep-2164-"),
    *("tools-call-image", "tools-call-audio", "tools-call-embedded", "tools-call-mixed"),
    *("tools-call-with-logging", "tools-call-with-progress", "tools-call-sampling"),
    *("tools-call-elicitation", "server-sse-", "input-required-result-"),
    *("json-schema-2020-12", "http-custom-header-server-validation"),
)


def run(url: str, revision: str, folder: Path) -> dict[str, dict[str, str]]:
    """The status of each check by its id, by scenario."""
    subprocess.run(
        [
            *("node", "--import", str(NODE20), str(SUITE), "server", "--url", f"{url}/mcp"),
            *("--suite", "all", "--spec-version", revision, "--output-dir", str(folder)),
        ],
        capture_output=True,
        check=False,
        timeout=300,
    )
    found = {}
    for result in folder.glob("server-*/checks.json"):
        scenario = WITH_TIME.sub("", result.parent.name.removeprefix("server-"))
        checks = json.loads(result.read_text())
        found[scenario] = {check["id"]: check["status"] for check in checks}
    return found


@pytest.mark.parametrize("revision", [STATELESS, HANDSHAKE])
def test_every_scenario_passes_or_is_of_a_feature_that_the_server_lacks(server, revision, tmp_path):
    found = run(server.url, revision, tmp_path)
    failed = {
        scenario: {name for name, status in checks.items() if status == "FAILURE"}
        for scenario, checks in found.items()
    }
    assert PASSED[revision] <= found.keys()
    assert {name for name in PASSED[revision] if failed[name]} == set()
    for scenario in PASSED_IN_PART.keys() & found.keys():
        assert failed[scenario] == PASSED_IN_PART[scenario]
        assert "SUCCESS" in found[scenario].values()
    others = found.keys() - PASSED[revision] - PASSED_IN_PART.keys()
    assert [name for name in others if not name.startswith(NOT_APPLICABLE)] == []


def test_the_page_names_every_scenario_that_does_not_apply():
    page = (ROOT / "docs" / "mcp.md").read_text()
    checks = set().union(*PASSED_IN_PART.values())
    named = {*NOT_APPLICABLE, *checks, *PASSED_IN_PART, *set().union(*PASSED.values())}
    assert [name for name in sorted(named) if f"`{name}" not in page] == []
