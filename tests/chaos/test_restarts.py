"""PostgreSQL restarts under load. bench/restarts.py is the longer form."""

from __future__ import annotations

from embedded.cluster import EmbeddedCluster
from testkit.restarts import restart_under_load
from tests.chaos.conftest import Served

# bench/restarts.py asserts the promise of 1 s; this leaves room for a busy machine.
LONGEST_GAP = 3.0


def test_no_acknowledged_write_is_lost_or_doubled(cluster: EmbeddedCluster, served: Served):
    report = restart_under_load(
        cluster, served.port, clients=16, modes=["immediate", "fast"], calm=0.5
    )
    assert report.wrong == []
    assert set(report.statuses) <= {200, 201, 503, 504}
    assert report.statuses[503], "no request noticed the restarts"
    assert report.acknowledged
    assert max(report.gaps) < LONGEST_GAP
