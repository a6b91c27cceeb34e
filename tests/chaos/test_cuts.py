"""A write is done once, wherever its connection is cut. bench/cuts.py cuts at every byte."""

from __future__ import annotations

import pytest

from embedded.cluster import EmbeddedCluster
from testkit.cluster import ROOT
from testkit.cuts import Job, Lane, Outcome, Place, Verdict, Write, jobs_at, judge

CUTS_PER_DIRECTION = 4
WITHOUT_KEYS = """
CREATE OR REPLACE FUNCTION web.remember(p_request jsonb, p_response text, p_etag text)
RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
"""


def spread(lane: Lane, write: Write, place: Place, **options: bool) -> list[Job]:
    """Cuts spread over a conversation, including those at its first and last byte."""
    lengths = lane.lengths(place, write, keyed=options.get("keyed", True))
    step = max(lengths.values()) // CUTS_PER_DIRECTION
    return list(jobs_at(lengths, write, place, step=step, **options))


def verdict(cluster: EmbeddedCluster, outcomes: list[Outcome]) -> Verdict:
    found = judge(cluster, outcomes)
    assert found.cut == found.writes, "a cut did not happen"
    return found


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize("write", Write)
def test_a_write_repeated_with_its_key_is_done_once(
    cluster: EmbeddedCluster, lane: Lane, write: Write, place: Place
):
    found = verdict(cluster, [lane.run(job) for job in spread(lane, write, place)])
    assert found.wrong == []
    assert found.acknowledged == found.writes
    # At least one cut must have hit the response of a completed write.
    assert found.replayed


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize("write", Write)
def test_a_write_without_a_key_is_done_at_most_once_and_once_if_acknowledged(
    cluster: EmbeddedCluster, lane: Lane, write: Write, place: Place
):
    jobs = spread(lane, write, place, keyed=False)
    found = verdict(cluster, [lane.run(job) for job in jobs])
    assert found.wrong == []
    if place is Place.HTTP:
        assert found.done_unacknowledged, "no cut hit a response to the client"
    else:
        # Clients do not notice a cut between API and database: the API retries with its own key.
        assert found.acknowledged == found.writes


@pytest.mark.parametrize("keyed", [True, False])
def test_a_write_is_done_once_when_the_database_is_down_after_the_cut(
    cluster: EmbeddedCluster, lane: Lane, keyed: bool
):
    jobs = spread(lane, Write.CREATE, Place.CALL, keyed=keyed, refused=True)
    found = verdict(cluster, [lane.run(job) for job in jobs])
    assert found.wrong == []
    assert (found.replayed if keyed else found.done_unacknowledged) > 0


def test_the_same_cuts_double_writes_without_stored_keys(cluster: EmbeddedCluster, lane: Lane):
    cluster.run_sql(WITHOUT_KEYS)
    try:
        outcomes = [lane.run(job) for job in spread(lane, Write.CREATE, Place.CALL)]
    finally:
        script = ROOT / "sql" / "postgresql" / "020_requests.sql"
        cluster.run_sql(script.read_text(encoding="utf-8"))
    assert any("done 2 times" in sentence for sentence in judge(cluster, outcomes).wrong)
