"""A primary with the sample and procedures of its own, its standbys, and the settings for both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embedded.cluster import API_ROLE, EmbeddedCluster
from embedded.sample import deploy_and_fill
from testkit.cluster import new_cluster
from testkit.places import TESTS
from testkit.procedures import SCRIPT
from testkit.standby import Standby, allow_standbys


@dataclass(frozen=True)
class Replicated:
    """A primary and its standbys, which replay after their delays."""

    primary: EmbeddedCluster
    standbys: Sequence[Standby]

    def settings(self, **others: str) -> dict[str, str]:
        """The environment of an API on all of them. It serves the sample, and the schema api."""
        replicas = " | ".join(standby.connection_string() for standby in self.standbys)
        found = {
            "POSTGRESQLCONNSTR_WWIF": self.primary.connection_string(),
            "POSTGRESQLCONNSTR_WWIF_REPLICA": replicas,
            "AUTH": "none",
            **others,
        }
        return {name: value for name, value in found.items() if value}


@contextlib.contextmanager
def replicated(name: str, *delays: str) -> Iterator[Replicated]:
    """A new primary, and a standby for each of `delays` (recovery_min_apply_delay)."""

    def prepare(cluster: EmbeddedCluster) -> None:
        deploy_and_fill(cluster)
        cluster.run_sql(SCRIPT.read_text())
        cluster.run_sql(
            f'GRANT USAGE ON SCHEMA api TO "{API_ROLE}";'
            f'GRANT ALL ON ALL TABLES IN SCHEMA api TO "{API_ROLE}"'
        )

    with new_cluster(name, prepare) as primary, contextlib.ExitStack() as stack:
        allow_standbys(primary)
        standbys = [
            stack.enter_context(
                Standby(TESTS / f"{name}-{n}", primary, name=f"standby_{n}", delay=delay)
            )
            for n, delay in enumerate(delays, 1)
        ]
        yield Replicated(primary, standbys)
