"""The comparison's figures become medians, and ratios of the same round."""

import math

from bench.summary import OURS, cell_medians, markdown, pair_ratios

OTHER = "FastAPI asyncpg"


def figure(contestant, turn, rate, *, workload="one customer", connections=16, errors=0, p99=1.0):
    return {
        "contestant": contestant,
        "workload": workload,
        "connections": connections,
        "round": turn,
        "rate": rate,
        "p50_ms": 1.0,
        "p99_ms": p99,
        "errors": errors,
        "cpu_per_request": 1e-4,
        "database_cpu_per_request": 1e-4,
        "peak_bytes": 1 << 20,
    }


# The machine was twice as slow in the last round, for both.
ROUNDS = [
    *(figure(OURS, 0, 100.0), figure(OTHER, 0, 50.0)),
    *(figure(OURS, 1, 120.0, errors=2), figure(OTHER, 1, 60.0)),
    *(figure(OURS, 2, 50.0, errors=1), figure(OTHER, 2, 25.0)),
]


def result(figures):
    return {
        "machine": {
            "date": "2026-01-01 00:00 UTC",
            "processor": "some",
            "cores": 2,
            "memory_gib": 4,
            "system": "Linux",
            "load_before": 0.0,
            "versions": {"Python": "3"},
        },
        "quick": True,
        "rounds": 3,
        "seconds": 1.0,
        "forms": {OURS: {"reads": "2 pinned"}, OTHER: {"reads": "4"}},
        "figures": figures,
        **{"streams": [], "growth": [], "ceilings": []},
    }


def test_a_cell_is_the_median_of_its_rounds_and_the_sum_of_their_errors():
    cell = cell_medians(ROUNDS)["one customer", 16, OURS]
    assert (cell["rate"], cell["errors"], cell["rounds"]) == (100.0, 3, 3)


def test_ratios_are_of_the_same_round():
    ratios = pair_ratios(ROUNDS, "rate", OURS, OTHER)
    assert ratios == {("one customer", 16): (2.0, 2.0, 2.0)}


def test_who_was_not_there_has_no_ratio():
    assert pair_ratios(ROUNDS, "rate", OURS, "nobody") == {}


def test_a_missed_target_is_called_missed_and_a_met_one_met():
    page = markdown(result(ROUNDS))
    row = f"| one customer, 16 connections, rate: ours / {OTHER} | at least 1 |"
    assert f"{row} 2.00 met |" in page
    slower = [{**f, "rate": f["rate"] / 4} if f["contestant"] == OURS else f for f in ROUNDS]
    assert f"{row} 0.50 **missed** |" in markdown(result(slower))


def test_what_was_not_measured_is_not_judged():
    page = markdown(result(ROUNDS))
    assert "ours / original sample | at least 1.8 | not measured |" in page
    assert not math.isnan(cell_medians(ROUNDS)["one customer", 16, OTHER]["rate"])
