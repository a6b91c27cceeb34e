"""The requests that every contestant gets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """kind: what workload.lua sends, a path standing for a GET of it. writes: rows are made."""

    name: str
    kind: str
    writes: bool = False


WORKLOADS = (
    Workload("one customer", "one_customer"),
    Workload("all customers", "/customers"),
    Workload("create", "create", writes=True),
    Workload("patch", "patch", writes=True),
    Workload("taxi by price", "/taxidata/20"),
    Workload("mix 90/10", "mix", writes=True),
)
CONNECTIONS = (1, 16, 128)
# Customers of the sample that no workload creates or deletes.
IDS = range(1, 202)
