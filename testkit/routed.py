"""Where an app in this process has served its reads, and what its replicas are."""

from __future__ import annotations

import time
from collections import Counter

from flask import Flask

WAIT_SECONDS = 20.0


def routed(app: Flask) -> Counter[str]:
    """How many reads were served, by "replica current", "primary behind" and so on."""
    found: Counter[str] = Counter()
    for metric in app.extensions["metrics"].registry.collect():
        for sample in metric.samples:
            if sample.name == "db_routed_reads_total" and sample.value:
                labels = sample.labels
                found[f"{labels['served_by']} {labels['reason']}"] = int(sample.value)
    return found


def states(app: Flask) -> dict[str, str]:
    """The state of each replica by name, as /health/ready reports it."""
    report = app.test_client().get("/health/ready").json
    replicas = [r for d in report["databases"].values() for r in d.get("replicas", ())]
    return {replica["name"]: replica["state"] for replica in replicas}


def wait_for_states(app: Flask, *wanted: str) -> None:
    """Return when the replicas are in these states, in their order. Raises AssertionError."""
    give_up = time.monotonic() + WAIT_SECONDS
    while tuple(states(app).values()) != wanted:
        assert time.monotonic() < give_up, states(app)
        time.sleep(0.02)
