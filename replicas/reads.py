"""Routes reads: to a replica that has what the reader has seen, else to the primary."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from connection_manager import ConnectionManager, Rows
from database.circuit_breaker import CircuitOpen
from database.deadline import Deadline
from database.errors import DatabaseError, DeadlineExceeded, Kind, Unavailable
from database.events import Observe, RoutedRead
from database.session import Answer
from database.statement import Guard, ResultSet, Statement
from replicas.replica import Replica
from replicas.watch import FRESH_SECONDS, Watch

T = TypeVar("T")
log = logging.getLogger(__name__)
# The name of a wait's queries in traces.
WAIT = "replica has the write"
FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.02
# Reads of one process that may wait for a replica at a time. Unknown tokens can't hold up more
# threads; further reads go to the primary at once.
MOST_WAITING = 8
# The replica is down, or this login can't use it.
_DOWN = {
    *(Kind.LOST, Kind.UNREACHABLE, Kind.RESUMING, Kind.NOT_OPEN),
    *(Kind.LOGIN_REFUSED, Kind.MISCONFIGURED),
}
# What the procedure itself says, which the primary would say too.
_FINAL = {
    *(Kind.CHOSEN, Kind.RAISED, Kind.CONSTRAINT, Kind.BAD_VALUE),
    *(Kind.FAULTY, Kind.TRANSACTION, Kind.TIMED_OUT),
}
# A change of data on a read-only database: PostgreSQL's SQLSTATE, SQL Server's number.
_READ_ONLY_SQLSTATE, _READ_ONLY_NUMBER = "25006", 3906

Reason = Literal["required", "behind", "unavailable"]


@dataclass(frozen=True)
class Consistency:
    """What a read must see. primary: only the primary serves it. guard: proves in front of the read
    that a replica has the reader's own writes; None: any replica within the limit of lag serves.
    """

    primary: bool = False
    guard: Guard | None = None


ANY = Consistency()
PRIMARY = Consistency(primary=True)


class ReplicatedDatabase:
    """The primary and the replicas of one database.

    wait_seconds: how long a read waits for a replica to have a write.
    """

    def __init__(
        self,
        primary: ConnectionManager,
        replicas: Sequence[Replica],
        watch: Watch,
        *,
        wait_seconds: float,
        observe: Observe,
    ) -> None:
        self.primary = primary
        self.replicas = replicas
        self._watch = watch
        self._wait_seconds = wait_seconds
        self._observe = observe
        self._turn = itertools.count()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        # Procedures of reads that have tried to change data on a replica.
        self._writing: set[str] = set()

    def start(self) -> None:
        """Begin to probe the replicas, in the background."""
        self._watch.start()

    def reads(self, consistency: Consistency) -> Reads:
        return Reads(self, consistency)

    def report(self) -> list[dict[str, Any]]:
        """Replica.report() of each; keeps the probes going."""
        self._watch.touch()
        return [replica.report() for replica in self.replicas]

    def close(self, timeout: float = 0.0) -> None:
        """Close the replicas' pools; the primary's is its owner's. Safe to call again."""
        self._watch.close()
        for replica in self.replicas:
            replica.manager.close(timeout)

    def run(
        self,
        procedure: str,
        read: Callable[[ConnectionManager, Guard | None], T],
        consistency: Consistency,
        deadline: Deadline,
    ) -> T:
        """The result of `read(manager, guard)`, on a replica if one can serve it.

        Raises what `read` raises on the primary, and an error that the procedure raises anywhere.
        """
        self._watch.touch()
        if consistency.primary or procedure in self._writing:
            return self._on_primary(read, "required")
        guard = consistency.guard
        behind: list[Replica] = []
        for replica in self._ready():
            try:
                result = read(replica.manager, guard)
            except (DatabaseError, Unavailable) as error:
                if isinstance(error, DatabaseError) and error.kind is Kind.BEHIND:
                    behind.append(replica)
                elif self._goes_on(procedure, replica, error):
                    continue
                else:
                    break
            else:
                self._observe(RoutedRead(self.primary.name, "replica", "current"))
                return result
        if guard is not None and behind and procedure not in self._writing:
            arrived = self._wait_for(guard, behind, deadline)
            if arrived is not None:
                try:
                    result = read(arrived.manager, guard)
                except (DatabaseError, Unavailable) as error:
                    self._goes_on(procedure, arrived, error)
                else:
                    self._observe(RoutedRead(self.primary.name, "replica", "waited"))
                    return result
        required = procedure in self._writing
        reason: Reason = "required" if required else "behind" if behind else "unavailable"
        return self._on_primary(read, reason)

    def _on_primary(
        self, read: Callable[[ConnectionManager, Guard | None], T], reason: Reason
    ) -> T:
        self._observe(RoutedRead(self.primary.name, "primary", reason))
        return read(self.primary, None)

    def _ready(self) -> Iterator[Replica]:
        """The replicas that serve reads, each read beginning with another one."""
        first = next(self._turn)
        count = len(self.replicas)
        for number in range(count):
            replica = self.replicas[(first + number) % count]
            if replica.serves(FRESH_SECONDS):
                yield replica

    def _goes_on(
        self, procedure: str, replica: Replica, error: DatabaseError | Unavailable
    ) -> bool:
        """Whether another replica may serve the read that failed on `replica`, after noting why.

        Raises `error` if it is the procedure's own.
        """
        if isinstance(error, Unavailable):
            if isinstance(error, CircuitOpen) or (error.failure and error.failure.kind in _DOWN):
                replica.failed(error.failure)
            return True
        if error.sqlstate == _READ_ONLY_SQLSTATE or error.native == _READ_ONLY_NUMBER:
            self._writing.add(procedure)
            log.warning(
                "%s of %s changes data, so the primary serves it from now on: mark it as a write"
                " by its name or by an @route line",
                *(procedure, self.primary.name),
            )
            return False
        if error.kind in _FINAL:
            raise error
        if error.kind in _DOWN:
            replica.failed(error)
        return True

    def _wait_for(
        self, guard: Guard, behind: Sequence[Replica], deadline: Deadline
    ) -> Replica | None:
        """The first replica that has the write, within the limit of waits; None where none has.

        No connection is held between two queries.
        """
        # One that is further behind than the longest wait will not have it in time.
        hopeful = [r for r in behind if (r.lag() or 0.0) <= self._wait_seconds + FIRST_PAUSE]
        if not hopeful or not self._waiting.acquire(blocking=False):
            return None
        try:
            until = Deadline(min(self._wait_seconds, deadline.remaining() / 2))
            pause = FIRST_PAUSE
            statement = Statement(guard.text, guard.values)
            while not until.passed():
                time.sleep(min(pause, until.remaining()))
                pause = min(pause * 1.5, LONGEST_PAUSE)
                for replica in [*hopeful]:
                    try:
                        replica.manager.execute_once(WAIT, statement, deadline=deadline)
                    except (DatabaseError, Unavailable, DeadlineExceeded) as error:
                        if not (isinstance(error, DatabaseError) and error.kind is Kind.BEHIND):
                            hopeful.remove(replica)
                    else:
                        return replica
                if not hopeful:
                    return None
            return None
        finally:
            self._waiting.release()


class Reads:
    """The reads of one request, with the signatures of ConnectionManager's."""

    def __init__(self, database: ReplicatedDatabase, consistency: Consistency) -> None:
        self._database = database
        self._consistency = consistency

    def read(
        self,
        procedure: str,
        document: str = "{}",
        *,
        caller: str | None = None,
        deadline: Deadline,
    ) -> Answer:
        def read(manager: ConnectionManager, guard: Guard | None) -> Answer:
            return manager.read(procedure, document, caller=caller, deadline=deadline, guard=guard)

        return self._run(procedure, read, deadline)

    def stream(
        self,
        procedure: str,
        document: str,
        *,
        caller: str | None = None,
        deadline: Deadline,
    ) -> Rows:
        def read(manager: ConnectionManager, guard: Guard | None) -> Rows:
            return manager.stream(
                procedure, document, caller=caller, deadline=deadline, guard=guard
            )

        return self._run(procedure, read, deadline)

    def execute(
        self, procedure: str, statement: Statement, *, deadline: Deadline, **options: Any
    ) -> list[ResultSet]:
        run = partial(ConnectionManager.execute, deadline=deadline, **options)
        return self._statement(procedure, statement, deadline, run)

    def stream_rows(
        self, procedure: str, statement: Statement, *, deadline: Deadline, **options: Any
    ) -> Rows:
        run = partial(ConnectionManager.stream_rows, deadline=deadline, **options)
        return self._statement(procedure, statement, deadline, run)

    def served(self, attempt: Callable[[ConnectionManager], T], deadline: Deadline) -> T:
        """The result of `attempt(manager)`, for a library's own statements.

        They are several batches, so that no guard can go in front: with one, the primary serves.
        """
        consistency = PRIMARY if self._consistency.guard is not None else self._consistency

        def read(manager: ConnectionManager, _: Guard | None) -> T:
            return manager.served(attempt, deadline)

        return self._database.run("", read, consistency, deadline)

    def _statement(
        self,
        procedure: str,
        statement: Statement,
        deadline: Deadline,
        run: Callable[[ConnectionManager, str, Statement], T],
    ) -> T:
        def read(manager: ConnectionManager, guard: Guard | None) -> T:
            guarded = statement if guard is None else guard.before(statement)
            return run(manager, procedure, guarded)

        # One that must run alone may end transactions, and takes no guard.
        return self._run(procedure, read, deadline, alone=statement.alone)

    def _run(
        self,
        procedure: str,
        read: Callable[[ConnectionManager, Guard | None], T],
        deadline: Deadline,
        *,
        alone: bool = False,
    ) -> T:
        consistency = PRIMARY if alone else self._consistency
        return self._database.run(procedure, read, consistency, deadline)
