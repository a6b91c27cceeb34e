"""Which CPU each worker keeps to: as many on one as on another, and none under a small quota."""

from __future__ import annotations

import math
import os

import pytest

from serving import cores


@pytest.mark.parametrize(
    ("cpus", "workers", "expected"),
    [
        ([0, 1], 2, [0, 1]),
        ([0, 1], 3, [0, 1, None]),
        ([0, 1], 4, [0, 1, 0, 1]),
        ([2, 5, 7], 2, [2, 5]),
        ([2, 5, 7], 8, [2, 5, 7, 2, 5, 7, None, None]),
        ([], 2, [None, None]),
    ],
)
def test_no_cpu_gets_more_workers_than_another(cpus, workers, expected):
    given: list[int | None] = []
    for _ in range(workers):
        given.append(cores.next_cpu(cpus, workers, given))
    assert given == expected


def test_a_replaced_worker_gets_the_cpu_of_the_one_that_ended():
    assert cores.next_cpu([0, 1], 4, [0, 1, 1]) == 0
    assert cores.next_cpu([0, 1], 4, [0, 0, 1]) == 1


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/app/web", {"app/cpu.max": "50000 100000", "app/web/cpu.max": "max 100000"}, 0.5),
        (
            "3:cpu,cpuacct:/app",
            {
                "cpu,cpuacct/app/cpu.cfs_quota_us": "200000",
                "cpu,cpuacct/app/cpu.cfs_period_us": "100000",
            },
            2.0,
        ),
        ("3:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("3:memory:/\n0::/", {}, math.inf),
    ],
)
def test_the_quota_of_the_control_groups_is_read(tmp_path, membership, files, expected):
    (tmp_path / "membership").write_text(membership + "\n")
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert cores.quota(tmp_path / "cgroup", tmp_path / "membership") == expected


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cores.quota(tmp_path, tmp_path / "none") == math.inf


@pytest.mark.parametrize(
    ("allowed", "quota", "expected"),
    [({0, 3}, math.inf, [0, 3]), ({0, 3}, 2.0, [0, 3]), ({0, 3}, 1.5, []), ({3}, math.inf, [])],
)
def test_workers_are_not_pinned_under_a_quota_below_the_cpus(monkeypatch, allowed, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed)
    monkeypatch.setattr(cores, "quota", lambda: quota)
    assert cores.cpus_to_pin_to() == expected


def test_a_platform_without_affinity_is_no_error(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    assert cores.cpus_to_pin_to() == []


def test_a_system_that_forbids_it_is_no_error(monkeypatch):
    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    assert not cores.keep_to(0)
