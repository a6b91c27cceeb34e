"""Malformed requests are refused; `python -m bench.malformed` sends ten thousand."""

from bench.malformed import hold_to_it

REQUESTS = 400


def test_the_malformed_is_refused_without_a_connection_and_the_valid_comes_back(folder):
    found = hold_to_it(folder, requests=REQUESTS, seed=7)
    assert found.faults == []
    assert found.statuses.total() == REQUESTS
    assert found.statuses[201] == found.checkouts > 0
    assert {400, 404, 413, 415, 422} <= found.statuses.keys()
