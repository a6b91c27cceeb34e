"""Dashboard and alerts ask for metrics that exist, by labels that those have."""

import json
import re

import pytest

from database.pool.state import PoolStats
from observability.metrics import RETIRED, Metrics
from settings import ROOT

DASHBOARD = json.loads((ROOT / "ops" / "grafana-dashboard.json").read_text(encoding="utf-8"))
ALERTS = (ROOT / "ops" / "alerts.yml").read_text(encoding="utf-8")
NAME = re.compile(r"\b(?:http|db|shared|build|mcp)_[a-z_]+\b")
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def existing_labels(metric, suffix):
    return set(metric._labelnames) | ({"le"} if suffix == "_bucket" else set())


def metrics():
    """{sample name: names of its labels}"""
    found = {}
    for metric in Metrics().registry._collector_to_names:
        for suffix in SUFFIXES[metric._type]:
            found[metric._name + suffix] = existing_labels(metric, suffix)
    return found


def expressions():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']} {target['refId']}", target["expr"]
    yield "annotation", DASHBOARD["annotations"]["list"][0]["expr"]
    for name, expression in re.findall(r"- alert: (\w+)\n +expr: (.*)\n", ALERTS):
        yield f"alert {name}", expression


EXPRESSIONS = dict(expressions())


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_metric_in_a_query_exists(where):
    expression, known = EXPRESSIONS[where], metrics()
    named = NAME.findall(expression)
    assert named
    assert set(named) <= set(known)
    for labels in re.findall(r"by \(([^)]*)\)", expression):
        for name in named:
            assert set(labels.split(", ")) <= known[name], (name, labels)
    for name, selector in re.findall(r"(\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)=", selector)) <= known[name]


def test_brackets_are_closed():
    for where, expression in EXPRESSIONS.items():
        for pair in ("()", "[]", "{}"):
            assert expression.count(pair[0]) == expression.count(pair[1]), where


def test_every_metric_is_on_the_dashboard():
    shown = set(NAME.findall(" ".join(EXPRESSIONS.values())))
    for metric in Metrics().registry._collector_to_names:
        names = {metric._name + suffix for suffix in SUFFIXES[metric._type]}
        assert names & shown


def test_every_alert_has_severity_summary_and_a_place_to_look():
    rules = ALERTS.split("- alert: ")[1:]
    assert len(rules) == ALERTS.count("expr:")
    for rule in rules:
        assert re.search(r"labels: \{severity: (page|ticket)\}", rule), rule
        assert "summary: " in rule
        assert "look: " in rule


def test_panels_do_not_overlap():
    places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in DASHBOARD["panels"]}
    assert len(places) == len(DASHBOARD["panels"])
    assert {p["gridPos"]["w"] for p in DASHBOARD["panels"]} == {8}


def test_every_way_to_retire_a_connection_is_a_total_of_the_pool():
    ways = {f"{reason}_total" for reason in RETIRED}
    ends = {"checkouts", "connects", "connect_failures", "timeouts", "rejected", "leaks"}
    totals = {name for name in PoolStats.__dataclass_fields__ if name.endswith("_total")}
    assert ways == totals - {f"{end}_total" for end in ends}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-tracing.txt"])
def test_the_list_of_licences_is_of_what_is_required(name):
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    required: dict[str, str] = {}
    lines = (ROOT / name).read_text(encoding="utf-8")
    # The first line of a package is for the newer subscribers, which the list is of.
    for package, version in re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", lines, re.M):
        required.setdefault(package, version)
    assert required
    for package, version in required.items():
        row = rf"^\| {package} \| {version} \| [^|]{{3,}} \| [^|]+ \|$"
        assert re.search(row, text, re.M | re.I), f"run scripts/dependencies.py: {package}"
