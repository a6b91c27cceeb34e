"""The requests that every contestant gets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """kind: what workload.lua sends, a path standing for a GET of it. writes: rows are made.

    identical: all clients send one URL, so that concurrent reads of it can share one call.
    """

    name: str
    kind: str
    writes: bool = False
    identical: bool = False

    @property
    def work(self) -> str:
        """The kind of work that a server's width is tuned for."""
        return WRITES if self.writes else READS


READS, WRITES = "reads", "writes"
WORKLOADS = (
    Workload("one customer", "one_customer"),
    Workload("all customers", "/customers", identical=True),
    Workload("taxi by price", "/taxidata/20", identical=True),
    Workload("taxi by prices", "prices"),
    Workload("create", "create", writes=True),
    Workload("patch", "patch", writes=True),
    Workload("mix 90/10", "mix", writes=True),
)
# By which each kind of work is tuned.
TUNED_BY = {
    READS: next(w for w in WORKLOADS if w.name == "one customer"),
    WRITES: next(w for w in WORKLOADS if w.name == "patch"),
}
CONNECTIONS = (1, 16, 128)
# Customers of the sample that no workload creates or deletes.
IDS = range(1, 202)
