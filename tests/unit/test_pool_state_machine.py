"""The pool against a model of it, in one thread: hypothesis generates the orders of events.

The two halves of a waiting checkout, joining the queue and completing it, are separate rules, so
that any event can happen between them.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from database.pool import Pool, PoolClosed, PoolQueueFull, PoolTimeout
from database.pool.lease import Lease
from database.pool.waiter import Signal

MAX_WAITING = 3
LIFETIME = 100.0
MAX_IDLE = 40.0
BYPASS = 5.0
LIFE = 30  # events before the pool may be closed, after which few rules apply


class Connection:
    def __init__(self, born):
        self.born = born
        self.closed = 0
        self.alive = True
        self.retired = False  # by an invalidate after it was opened


def draw_one(data, items):
    # By index: hypothesis would keep a sampled lease alive.
    return items[data.draw(st.integers(0, len(items) - 1))]


class PoolMachine(RuleBasedStateMachine):
    """The model: `idle` is the stack of idle connections, `leases` are in use, `queue` waits."""

    @initialize(max_size=st.integers(1, 3), data=st.data())
    def open(self, max_size, data):
        self.now = 0.0
        self.events = 0
        self.max_size = max_size
        self.min_size = data.draw(st.integers(0, max_size))
        self.down = False
        self.closed = False
        self.made = []
        self.idle = []
        self.leases = []
        self.queue = []
        self.tickets = []  # waiters that have not been completed
        self.pool = Pool(
            self.connect,
            close=self.close_connection,
            ping=lambda connection, remaining: connection.alive,
            min_size=self.min_size,
            max_size=max_size,
            max_waiting=MAX_WAITING,
            max_lifetime=LIFETIME,
            max_idle=MAX_IDLE,
            bypass_window=BYPASS,
            lifetime_jitter=0.0,
            housekeeper=False,
            clock=lambda: self.now,
        )

    def connect(self, remaining):
        assert remaining > 0
        assert not self.pool._state.lock.locked(), "connecting happens outside the lock"
        if self.down:
            raise OSError("down")
        self.made.append(Connection(self.now))
        return self.made[-1]

    def close_connection(self, connection):
        assert not self.pool._state.lock.locked(), "closing happens outside the lock"
        connection.closed += 1

    # The model

    def expired(self, connection):
        return self.now - connection.born >= LIFETIME

    def is_served(self, ticket):
        return ticket.outcome is not None

    def is_queue_full(self):
        return len(self.queue) >= MAX_WAITING

    def pending(self):
        """What waiters have received and not used yet: (number of permits, connections)."""
        outcomes = [t.outcome for t in self.tickets if t.outcome is not Signal.CLOSED]
        permits = sum(outcome is Signal.PERMIT for outcome in outcomes)
        handed = [
            o.connection for o in outcomes if o is not Signal.PERMIT and hasattr(o, "connection")
        ]
        return permits, handed

    def places_taken(self):
        permits, handed = self.pending()
        return len(self.idle) + len(self.leases) + permits + len(handed)

    def expect_next(self):
        """Drop the idle connections that the pool would find expired."""
        while self.idle and self.expired(self.idle[-1]):
            self.idle.pop()

    def checked_in(self, connection):
        """The model of the checkin of a healthy connection."""
        if self.closed or connection.retired or self.expired(connection):
            self.freed()
        elif self.queue:
            self.expect_served(connection)
        else:
            self.idle.append(connection)

    def freed(self):
        """The model of a place that became free."""
        if self.queue:
            self.expect_served(Signal.PERMIT)

    def expect_served(self, what):
        head = self.queue.pop(0)
        outcome = head.outcome
        assert outcome is Signal.PERMIT if what is Signal.PERMIT else outcome.connection is what, (
            "the first in the queue is served first"
        )

    # Checkout

    @precondition(lambda self: not self.closed)
    @rule()
    def checkout(self):
        if not self.queue:
            self.expect_next()
        exhausted = bool(self.queue) or (not self.idle and self.places_taken() >= self.max_size)
        expected = self.idle[-1] if self.idle else None
        try:
            lease = self.pool.checkout(timeout=0 if exhausted else 10)
        except PoolTimeout:
            assert exhausted
        except PoolQueueFull:
            assert exhausted and self.is_queue_full()
        except OSError:
            assert self.down and not exhausted
            if expected is not None:
                assert not expected.alive
                self.idle.pop()
            self.freed()
        else:
            assert not exhausted
            self.granted(lease, expected)

    def granted(self, lease, expected):
        if expected is not None:
            self.idle.pop()
            if lease.connection is not expected:
                assert not expected.alive and expected.closed == 1, "LIFO, but for a dead one"
        if lease.connection is not expected:
            assert lease.connection is self.made[-1] and not self.down
        assert not self.expired(lease.connection)
        self.leases.append(lease)

    @precondition(lambda self: not self.closed)
    @rule()
    def join_queue(self):
        if not self.queue:
            self.expect_next()
        free = bool(self.idle) or self.places_taken() < self.max_size
        try:
            ticket = self.pool._queue.enqueue(self.now)
        except PoolQueueFull:
            assert self.is_queue_full() and not free
            return
        self.tickets.append(ticket)
        if self.queue or not free:
            assert not self.is_served(ticket), "a newcomer never overtakes"
            self.queue.append(ticket)
        elif self.idle:
            assert ticket.outcome.connection is self.idle.pop()
        else:
            assert ticket.outcome is Signal.PERMIT

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def complete_a_checkout(self, data):
        ticket = draw_one(data, self.tickets)
        self.tickets.remove(ticket)
        outcome = ticket.outcome
        waits = not self.is_served(ticket)
        if waits:
            self.queue.remove(ticket)
        late = data.draw(st.booleans())
        try:
            # A waiter without an outcome would really wait, so it gets no time.
            slot = self.pool._queue.complete(ticket, self.now + (0 if late or waits else 10))
        except PoolTimeout:
            assert waits or (late and (outcome is Signal.PERMIT or not outcome.connection.alive))
            if not waits:
                self.freed()
        except PoolClosed:
            assert self.closed
        except OSError:
            assert self.down and (outcome is Signal.PERMIT or not outcome.connection.alive)
            self.freed()
        else:
            lease = Lease(self.pool, slot)
            handed = getattr(outcome, "connection", None)
            assert lease.connection is handed or lease.connection is self.made[-1]
            self.leases.append(lease)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def interrupt_a_waiter(self, data):
        ticket = draw_one(data, self.tickets)
        self.tickets.remove(ticket)
        outcome = ticket.outcome
        if outcome is None:
            self.queue.remove(ticket)
        self.pool._queue.abandon(ticket)
        if outcome is Signal.PERMIT:
            self.freed()
        elif outcome is not None and outcome is not Signal.CLOSED:
            self.checked_in(outcome.connection)

    @precondition(lambda self: not self.closed and not self.down)
    @rule(waiters=st.integers(1, MAX_WAITING))
    def crowd(self, waiters):
        while self.idle or (not self.queue and self.places_taken() < self.max_size):
            self.checkout()
        for _ in range(waiters - len(self.queue)):
            self.join_queue()

    # Checkin and evict

    @precondition(lambda self: not self.closed and not self.down)
    @rule(dead=st.booleans())
    def lull(self, dead):
        """All connections are checked in and idle for a while, during which they may die."""
        while self.idle or (not self.queue and self.places_taken() < self.max_size):
            self.checkout()
        while self.leases:
            self.end_by_checkin(self.leases[0])
        for connection in self.idle:
            connection.alive = not dead
        self.now += BYPASS + 1

    def end_by_checkin(self, lease):
        self.leases.remove(lease)
        connection = lease.connection
        lease.checkin()
        self.checked_in(connection)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), again=st.booleans())
    def checkin(self, data, again):
        lease = draw_one(data, self.leases)
        self.end_by_checkin(lease)
        if again:
            lease.checkin()
            lease.evict()

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), again=st.booleans())
    def evict(self, data, again):
        lease = draw_one(data, self.leases)
        self.leases.remove(lease)
        connection = lease.connection
        lease.evict()
        assert connection.closed == 1
        self.freed()
        if again:
            lease.checkin()
            lease.evict()

    @precondition(lambda self: self.leases)
    @rule()
    def drop_a_lease(self):
        connection = self.leases[-1].connection
        self.leases.pop()
        self.pool.stats()  # reclaims it
        assert connection.closed == 1
        self.freed()

    # Time and the database

    @rule(seconds=st.sampled_from([1.0, BYPASS + 1, MAX_IDLE, LIFETIME]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(down=st.booleans())
    def database_goes_down_or_up(self, down):
        self.down = down

    @precondition(lambda self: self.idle)
    @rule(data=st.data())
    def an_idle_connection_dies_and_stays_idle(self, data):
        draw_one(data, self.idle).alive = False
        self.now += BYPASS + 1

    @rule()
    def invalidate(self):
        self.pool.invalidate()
        for connection in self.made:
            connection.retired = True
        assert all(connection.closed == 1 for connection in self.idle)
        self.idle.clear()

    @rule()
    def maintain(self):
        before = len(self.made)
        idle, taken = list(self.idle), self.places_taken()
        self.pool.maintain()
        gone = [connection for connection in idle if connection.closed]
        self.idle = [connection for connection in idle if not connection.closed]
        assert not any(self.expired(connection) for connection in self.idle)
        filled = self.made[before:]
        self.idle += filled
        unexpired = sum(not self.expired(connection) for connection in gone)
        assert taken - unexpired >= self.min_size or not unexpired, "idling out spares min_size"
        if not self.closed and not self.down:
            assert self.places_taken() >= self.min_size
        assert not filled or self.places_taken() == self.min_size

    @precondition(lambda self: not self.closed and self.events > LIFE)
    @rule()
    def close(self):
        permits, handed = self.pending()
        drained = self.pool.close()
        assert drained == (not self.leases and not permits and not handed)
        self.closed = True
        assert all(ticket.outcome is Signal.CLOSED for ticket in self.queue), "waiters fail at once"
        self.queue.clear()
        self.idle.clear()

    @precondition(lambda self: self.closed)
    @rule()
    def a_closed_pool_refuses(self):
        for attempt in (self.pool.checkout, lambda: self.pool._queue.enqueue(self.now)):
            try:
                attempt()
            except PoolClosed:
                continue
            raise AssertionError("a closed pool checks nothing out")

    # Invariants

    @invariant()
    def the_stats_are_exact(self):
        self.events += 1
        stats = self.pool.stats()
        permits, handed = self.pending()
        assert stats.idle + stats.in_use + stats.connecting == stats.size <= self.max_size
        assert stats.idle == len(self.idle)
        assert stats.in_use == len(self.leases) + len(handed)
        assert stats.connecting == permits
        assert stats.waiting == len(self.queue) <= MAX_WAITING
        assert stats.connects_total == len(self.made)
        assert stats.connects_total == (
            stats.idle
            + stats.in_use
            + stats.evicted_total
            + stats.lost_total
            + stats.expired_total
            + stats.validation_failures_total
            + stats.invalidated_total
            + stats.closed_total
        )

    @invariant()
    def every_connection_is_in_exactly_one_place(self):
        _, handed = self.pending()
        owned = self.idle + [lease.connection for lease in self.leases] + handed
        assert len(set(map(id, owned))) == len(owned), "no connection has two leases"
        for connection in self.made:
            assert connection.closed == (0 if any(c is connection for c in owned) else 1)

    @invariant()
    def no_waiter_is_queued_while_something_is_free(self):
        if self.queue:
            assert not self.idle
            assert self.places_taken() == self.max_size
        assert [t for t in self.queue if self.is_served(t)] == []

    def teardown(self):
        if not hasattr(self, "pool"):
            return
        for ticket in self.tickets:
            self.pool._queue.abandon(ticket)
        for lease in self.leases:
            lease.checkin()
        assert self.pool.close() is True
        assert all(connection.closed == 1 for connection in self.made)


TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
