"""One replica: its pool, and whether it may serve reads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from connection_manager import ConnectionManager
from database.deadline import Deadline
from database.errors import DatabaseError, Kind
from database.events import Observe, ReplicaProbed
from replicas.lag import History
from replicas.position import Position, position, query

log = logging.getLogger(__name__)
# The name of position queries in traces.
PROBE = "replica position"
PROBE_DEADLINE_SECONDS = 3.0
# A replica that has not reached the newest position of its primary is queried again for so long.
CATCH_UP_SECONDS = 0.2
CATCH_UP_PAUSE = 0.02
READY, LAGGING, CHECKING = "ready", "lagging", "checking"
PROMOTED, ANOTHER = "promoted", "another database"
_STATES = {
    Kind.RESUMING: "resuming",
    Kind.THROTTLED: "resuming",
    Kind.LOGIN_REFUSED: "login refused",
    Kind.NOT_OPEN: "login refused",
}


class State(NamedTuple):
    """name: READY, or why it serves no reads. lag: in seconds, None where unknown. at: when."""

    name: str
    lag: float | None = None
    at: float = float("-inf")


class Replica:
    """A replica of `primary`, whose positions `history` has.

    place: "server/database", for logs. most_lag: in seconds; above it the replica is left out.
    """

    def __init__(
        self,
        manager: ConnectionManager,
        *,
        place: str,
        history: History,
        most_lag: float,
        observe: Observe,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.manager = manager
        self.place = place
        self._history = history
        self._most_lag = most_lag
        self._observe = observe
        self._clock = clock
        self.state = State(CHECKING)

    @property
    def name(self) -> str:
        return self.manager.name

    def lag(self) -> float | None:
        """Seconds that it may be behind by now; None where that is unknown."""
        state = self.state
        return None if state.lag is None else state.lag + self._clock() - state.at

    def report(self) -> dict[str, Any]:
        """{"name": text, "state": text, "lag_seconds": float or None}, for readiness."""
        state, lag, _ = self.state
        return {
            "name": self.name,
            "state": state,
            "lag_seconds": None if lag is None else round(lag, 1),
        }

    def serves(self, fresh_seconds: float) -> bool:
        """Whether it may serve reads: ready, by a probe of the last `fresh_seconds`, and its lag
        within the limit."""
        state = self.state
        age = self._clock() - state.at
        return (
            state.name == READY
            and age <= fresh_seconds
            and (state.lag is None or state.lag + age <= self._most_lag)
        )

    def failed(self, error: DatabaseError | None) -> None:
        """A read found it down: it serves no more reads until the next probe."""
        self._set(_STATES.get(error.kind, "unreachable") if error else "unreachable", None)

    def probe(self) -> None:
        """Query its position and update its state. Never raises."""
        try:
            self._probe()
        except DatabaseError as error:
            self._down(error)
        except Exception:
            # Its pool is busy, or it hangs: a connection of its own tells which.
            self._probe_alone()

    def _probe_alone(self) -> None:
        try:
            self.manager.probe()
        except Exception as error:
            self._down(error)
        else:
            if self.state.name == READY:
                self.state = State(READY, self.lag(), self._clock())

    def _down(self, error: Exception) -> None:
        kind = error.kind if isinstance(error, DatabaseError) else None
        why = error.report if isinstance(error, DatabaseError) else str(error)
        self._set(_STATES.get(kind, "unreachable") if kind else "unreachable", None, why)
        # Reads that wait for it, maybe until their deadlines, go on elsewhere.
        self.manager.cut()

    def _probe(self) -> None:
        found = position_of(self.manager)
        newest = self._history.newest
        if newest is None:
            self._set(CHECKING, None)
            return
        if found.identity != newest.position.identity:
            self._set(ANOTHER, None)
            return
        if not found.reads_only and self.manager.engine == "postgresql":
            # It has a timeline of its own, on which its position means something else.
            self._set(PROMOTED, None)
            return
        if newest.position.at is None:
            self._set(READY, None)
            return
        give_up = self._clock() + CATCH_UP_SECONDS
        while (found.at is None or found.at < newest.position.at) and self._clock() < give_up:  # type: ignore[operator]
            time.sleep(CATCH_UP_PAUSE)
            found = position_of(self.manager)
        lag = None if found.at is None else self._history.lag(found.at, self._clock())
        within = lag is not None and lag <= self._most_lag
        self._set(READY if within else LAGGING, lag)

    def _set(self, name: str, lag: float | None, why: str = "") -> None:
        before, self.state = self.state, State(name, lag, self._clock())
        self._observe(ReplicaProbed(self.name, name == READY, lag))
        if before.name == name:
            return
        if name == READY:
            log.info("%s (%s) serves reads", self.name, self.place)
        elif name == ANOTHER:
            log.error(
                "%s (%s) is no replica of its primary, but another database: it serves no reads."
                " Correct its connection string.",
                *(self.name, self.place),
            )
        elif name != CHECKING:
            behind = f" by {lag:.1f} s" if lag is not None else ""
            reason = f" ({why})" if why else ""
            log.warning(
                "%s (%s) is %s%s%s: other replicas or the primary serve its reads",
                *(self.name, self.place, name, behind, reason),
            )


def position_of(manager: ConnectionManager, *, seconds: float = PROBE_DEADLINE_SECONDS) -> Position:
    """The position of a database now. Raises what ConnectionManager.execute() does."""
    deadline = Deadline(seconds)
    (found,) = manager.execute_once(PROBE, query(manager.engine), deadline=deadline)
    return position(manager.engine, found.rows[0])
