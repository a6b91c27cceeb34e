"""Kills and stops of the embedded database at random moments; the long run is bench/."""

from testkit.kills import kill_and_start


def test_no_row_is_lost_by_kills_and_stops_at_random_moments(folder):
    report = kill_and_start(folder / "cluster", rounds=6, seed=12)
    assert report.wrong == []
    assert len(report.starts) == 6
    assert report.committed
