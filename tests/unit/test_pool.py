"""The pool with one thread and a fake clock; a test that needs a second thread starts it."""

import gc
import logging
import math
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

from database import pool as pool_module
from database.pool import Pool, PoolClosed, PoolError, PoolQueueFull, PoolTimeout

ROOT = Path(__file__).parents[2]


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Connection:
    def __init__(self):
        self.closed = 0
        self.alive = True


class Server:
    """Opens connections, counts them, and raises `failure` if there is one."""

    def __init__(self):
        self.made = []
        self.budgets = []
        self.pinged = []
        self.failure = None

    def connect(self, remaining):
        self.budgets.append(remaining)
        if self.failure is not None:
            raise self.failure
        self.made.append(Connection())
        return self.made[-1]

    def close(self, connection):
        connection.closed += 1

    def ping(self, connection, remaining):
        self.pinged.append(connection)
        return connection.alive

    @property
    def open(self):
        return [connection for connection in self.made if not connection.closed]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def make(server, clock):
    pools = []

    def make(**options):
        settings = {
            "close": server.close,
            "ping": server.ping,
            "clock": clock,
            "housekeeper": False,
        }
        pools.append(Pool(server.connect, **(settings | options)))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_size": 0}, "max_size must be at least 1, not 0."),
        ({"min_size": -1}, "min_size must not be negative, and is -1."),
        ({"min_size": 3, "max_size": 2}, "min_size 3 is above max_size 2."),
        ({"max_waiting": -1}, "max_waiting must not be negative, and is -1."),
        ({"acquire_timeout": 0}, "acquire_timeout must be positive and finite, not 0."),
        ({"acquire_timeout": math.inf}, "acquire_timeout must be positive and finite, not inf."),
        ({"max_lifetime": 0}, "max_lifetime must be positive, not 0."),
        ({"max_lifetime": math.nan}, "max_lifetime must be positive, not nan."),
        ({"max_idle": -5}, "max_idle must be positive, not -5."),
        ({"bypass_window": -0.1}, "bypass_window must not be negative, and is -0.1."),
        ({"leak_threshold": 0}, "leak_threshold must be positive or None, not 0."),
        ({"lifetime_jitter": 1}, "lifetime_jitter 1 is not in [0, 1)."),
    ],
)
def test_contradictory_options_are_refused_with_a_message(make, options, message):
    with pytest.raises(ValueError) as caught:
        make(**options)
    assert str(caught.value) == message


def test_errors_have_one_base():
    assert {PoolTimeout, PoolQueueFull, PoolClosed} <= set(PoolError.__subclasses__())


def test_nothing_is_connected_before_the_first_checkout(make, server):
    make()
    assert server.made == []


def test_the_connection_checked_in_last_is_checked_out_first(make):
    pool = make()
    first, second = pool.checkout(), pool.checkout()
    expected = second.connection
    first.checkin()
    second.checkin()
    assert pool.checkout().connection is expected


def test_connect_receives_the_time_left_of_the_checkout(make, server):
    pool = make(acquire_timeout=7.0)
    leases = [pool.checkout(), pool.checkout(timeout=2.5)]
    assert server.budgets == [7.0, 2.5]
    assert len(leases) == 2


def test_a_checkout_without_time_takes_an_idle_connection_or_none(make, server):
    pool = make()
    with pytest.raises(PoolTimeout):
        pool.checkout(timeout=0)
    assert (server.budgets, pool.stats().connecting) == ([], 0)
    pool.checkout().checkin()
    pool.checkout(timeout=0).checkin()


def test_a_lease_ends_exactly_once(make, server):
    pool = make()
    lease = pool.checkout()
    for end in (lease.checkin, lease.checkin, lease.evict):
        end()
    assert lease.connection is None
    assert (pool.stats().idle, pool.stats().evicted_total, len(server.open)) == (1, 0, 1)
    lease = pool.checkout()
    for end in (lease.evict, lease.evict, lease.checkin):
        end()
    assert (pool.stats().idle, pool.stats().evicted_total) == (0, 1)
    assert server.made[0].closed == 1


def test_a_late_second_checkin_does_not_end_the_next_lease(make):
    pool = make()
    first = pool.checkout()
    first.checkin()
    second = pool.checkout()
    first.checkin()
    assert (pool.stats().idle, pool.stats().in_use) == (0, 1)
    second.checkin()


def test_an_error_in_the_body_checks_the_connection_in(make, server):
    pool = make()
    with pytest.raises(KeyError), pool.checkout():
        raise KeyError
    assert (pool.stats().idle, len(server.open)) == (1, 1)


@pytest.mark.parametrize("death", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_body_that_was_stopped_evicts_its_connection(make, server, death):
    pool = make()
    with pytest.raises(death), pool.checkout():
        raise death
    assert (pool.stats().size, server.made[0].closed) == (0, 1)


def test_an_evict_in_the_body_is_final(make):
    pool = make()
    with pytest.raises(OSError), pool.checkout() as lease:
        lease.evict()
        raise OSError
    assert (pool.stats().idle, pool.stats().evicted_total) == (0, 1)


@pytest.mark.parametrize("failure", [OSError("refused"), KeyboardInterrupt()])
def test_a_failed_connect_raises_in_the_checkout_and_frees_the_place(make, server, failure):
    pool = make(max_size=1)
    server.failure = failure
    with pytest.raises(type(failure)) as caught:
        pool.checkout()
    assert caught.value is failure
    assert (pool.stats().size, pool.stats().waiting) == (0, 0)
    server.failure = None
    pool.checkout().checkin()


def test_a_timeout_has_the_counts_and_the_last_connect_failure(make, server):
    pool = make(name="wwif", max_size=2)
    lease = pool.checkout()
    server.failure = OSError("login failed")
    with pytest.raises(OSError):
        pool.checkout()
    with pytest.raises(PoolTimeout) as caught:
        pool.checkout(timeout=0)
    assert str(caught.value) == (
        "Pool 'wwif': no connection in time (total 2, in use 1, idle 0, connecting 1, waiting 0)."
    )
    assert repr(caught.value.__cause__) == "OSError('login failed')"
    assert caught.value.__cause__.__traceback__ is None, (
        "it would keep the frames of the checkout alive"
    )
    server.failure = None
    lease.evict()
    lease = pool.checkout()
    with pytest.raises(PoolTimeout) as caught:
        pool.checkout(timeout=0)
    assert caught.value.__cause__ is None, "the last connect succeeded"


def test_a_failure_that_cannot_be_copied_is_still_reported(make, server):
    class Awkward(Exception):
        def __init__(self, code, text):
            super().__init__(f"{code}: {text}")

    pool = make()
    server.failure = Awkward(18456, "no")
    with pytest.raises(Awkward):
        pool.checkout()
    with pytest.raises(PoolTimeout) as caught:
        pool.checkout(timeout=0)
    assert str(caught.value.__cause__) == "Awkward: 18456: no"


def test_only_a_connection_idle_beyond_the_bypass_window_is_pinged(make, server, clock):
    pool = make(bypass_window=0.5)
    pool.checkout().checkin()
    clock.now += 0.5
    pool.checkout().checkin()
    assert server.pinged == []
    clock.now += 0.51
    pool.checkout().checkin()
    assert server.pinged == server.made


def test_without_ping_nothing_is_validated(make, server, clock):
    pool = make(ping=None)
    pool.checkout().checkin()
    clock.now += 100
    pool.checkout(timeout=0).checkin()
    assert len(server.made) == 1


@pytest.mark.parametrize("answer", [False, OSError("gone")])
def test_a_dead_connection_is_replaced_within_the_same_checkout(make, server, clock, answer):
    def ping(connection, remaining):
        server.pinged.append(connection)
        if answer:
            raise answer
        return answer

    pool = make(max_size=2, ping=ping)
    for lease in [pool.checkout(), pool.checkout()]:
        lease.checkin()
    clock.now += 10
    lease = pool.checkout()
    assert lease.connection is server.made[2]
    assert len(server.pinged) == 1, "at most one ping and one connect in a checkout"
    assert server.pinged[0].closed == 1
    assert (pool.stats().size, pool.stats().validation_failures_total) == (2, 1)


def test_a_failed_replacement_frees_the_place(make, server, clock):
    pool = make(max_size=1)
    pool.checkout().checkin()
    clock.now += 10
    server.made[0].alive = False
    server.failure = OSError("down")
    with pytest.raises(OSError):
        pool.checkout()
    assert (pool.stats().size, server.open) == (0, [])


def test_a_ping_that_is_interrupted_closes_the_connection(make, server, clock):
    def ping(*_):
        raise KeyboardInterrupt

    pool = make(ping=ping)
    pool.checkout().checkin()
    clock.now += 10
    with pytest.raises(KeyboardInterrupt):
        pool.checkout()
    assert (pool.stats().size, server.open) == (0, [])


@pytest.mark.parametrize(("drawn", "lifetime"), [(0.0, 100.0), (1.0, 80.0)])
def test_lifetime_is_only_ever_shortened_by_the_jitter(make, server, clock, drawn, lifetime):
    pool = make(max_lifetime=100.0, lifetime_jitter=0.2, random=lambda: drawn, max_idle=math.inf)
    pool.checkout().checkin()
    clock.now += lifetime - 0.001
    pool.checkout().checkin()
    assert len(server.made) == 1
    clock.now += 0.001
    pool.checkout().checkin()
    assert [connection.closed for connection in server.made] == [1, 0]
    assert pool.stats().expired_total == 1


def test_a_connection_that_outlived_its_time_is_closed_at_checkin(make, server, clock):
    pool = make(max_lifetime=100.0)
    lease = pool.checkout()
    clock.now += 100
    lease.checkin()
    assert (pool.stats().size, server.open) == (0, [])


def test_unused_connections_idle_out_down_to_min_size(make, server, clock):
    pool = make(min_size=2, max_size=5, max_idle=60.0)
    leases = [pool.checkout() for _ in range(5)]
    for lease in leases:
        lease.checkin()
    clock.now += 30
    in_demand = pool.checkout()
    in_demand.checkin()
    clock.now += 30
    pool.maintain()
    assert pool.stats().idle == 2
    assert server.made[4] in server.open, "the one in use stays"
    clock.now += 1000
    pool.maintain()
    assert (pool.stats().idle, pool.stats().expired_total) == (2, 3)


def test_maintain_connects_up_to_min_size(make, server, clock):
    pool = make(min_size=2, max_lifetime=100.0)
    pool.maintain()
    assert (pool.stats().idle, len(server.made)) == (2, 2)
    clock.now += 100
    pool.maintain()
    assert (pool.stats().idle, len(server.made), len(server.open)) == (2, 4, 2)


def test_maintain_survives_a_database_that_is_down(make, server, caplog):
    pool = make(min_size=3)
    server.failure = OSError("down")
    pool.maintain()
    assert pool.stats().connect_failures_total == 1, "one attempt per pass"
    assert "min_size is not reached" in caplog.text
    server.failure = None
    pool.maintain()
    assert pool.stats().idle == 3


def test_invalidate_retires_the_whole_generation_and_nothing_newer(make, server):
    pool = make()
    out, idle = pool.checkout(), pool.checkout()
    idle.checkin()
    pool.invalidate()
    assert [connection.closed for connection in server.made] == [0, 1]
    young = pool.checkout()
    out.checkin()
    young.checkin()
    assert [connection.closed for connection in server.made] == [1, 1, 0]
    assert pool.stats().invalidated_total == 2


def test_a_connection_begun_before_invalidate_belongs_to_the_old_generation(make, server):
    pool = make(close=server.close)
    connect = server.connect

    def slow_connect(remaining):
        pool.invalidate()
        return connect(remaining)

    pool._connections.open_connection = slow_connect
    pool.checkout().checkin()
    assert (server.open, pool.stats().size) == ([], 0)


def test_close_closes_idle_connections_now_and_the_others_at_checkin(make, server):
    pool = make()
    out, idle = pool.checkout(), pool.checkout()
    idle.checkin()
    assert pool.close() is False
    assert [connection.closed for connection in server.made] == [0, 1]
    out.checkin()
    assert server.open == []
    assert pool.close() is True
    assert pool.stats().closed_total == 2
    with pytest.raises(PoolClosed):
        pool.checkout()


def test_close_may_be_repeated(make, server):
    pool = make()
    pool.checkout().checkin()
    assert [pool.close(), pool.close(timeout=1.0)] == [True, True]
    assert server.made[0].closed == 1


def test_a_checkout_overtaken_by_close_leaves_no_connection(make, server):
    pool = make()
    connect = server.connect

    def overtaken(remaining):
        pool.close()
        return connect(remaining)

    pool._connections.open_connection = overtaken
    with pytest.raises(PoolClosed):
        pool.checkout()
    assert (server.open, len(server.made)) == ([], 1)
    assert pool.close() is True


def test_a_close_that_raises_does_not_stop_the_others(make, server):
    def close(connection):
        server.close(connection)
        raise OSError("broken pipe")

    pool = make(close=close)
    for lease in [pool.checkout(), pool.checkout()]:
        lease.checkin()
    assert pool.close() is True
    assert server.open == []


def test_waiting_and_usage_are_observed(make, clock):
    observed = []

    def connect(_):
        clock.now += 2
        return Connection()

    pool = make(observe=lambda event, seconds: observed.append((event, seconds)))
    pool._connections.open_connection = connect
    lease = pool.checkout()
    clock.now += 5
    lease.checkin()
    lease = pool.checkout()
    clock.now += 7
    lease.evict()
    assert observed == [
        ("wait_seconds", 2),
        ("usage_seconds", 5),
        ("wait_seconds", 0),
        ("usage_seconds", 7),
    ]


def test_an_observer_that_fails_loses_no_connection(make, caplog):
    pool = make(observe=lambda event, seconds: 1 / 0)
    pool.checkout().checkin()
    assert (pool.stats().idle, pool.stats().size) == (1, 1)
    assert "observe('wait_seconds') failed" in caplog.text


def test_a_leak_is_logged_once_with_its_checkout(make, clock, caplog):
    pool = make(leak_threshold=30.0)
    kept = []

    def careless_view():
        kept.append(pool.checkout())

    thread = threading.Thread(target=careless_view, name="request-17")
    thread.start()
    thread.join()
    clock.now += 29
    pool.maintain()
    assert caplog.records == []
    clock.now += 1
    pool.maintain()
    pool.maintain()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "request-17" in record.getMessage()
    assert "careless_view" in record.getMessage()
    assert "kept.append(pool.checkout())" in record.getMessage()
    assert pool.stats().leaks_total == 1
    kept.pop().checkin()
    clock.now += 100
    pool.maintain()
    assert len(caplog.records) == 1, "an idle connection is no leak"


def test_a_lease_dropped_without_checkin_is_evicted_and_logged(make, server, caplog):
    pool = make(max_size=1)
    pool.checkout()
    assert (pool.stats().size, pool.stats().lost_total) == (0, 1)
    assert server.open == []
    assert "dropped without checkin" in caplog.text


def test_a_lease_dropped_in_a_cycle_is_logged_with_its_checkout(make, caplog):
    pool = make(leak_threshold=60.0)
    cycle = [pool.checkout()]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert (pool.stats().size, pool.stats().lost_total) == (0, 1)
    assert "test_a_lease_dropped_in_a_cycle_is_logged_with_its_checkout" in caplog.text


def test_collecting_a_lease_runs_no_pool_code(make, server):
    pool = make()
    lease = pool.checkout()
    with pool._state.lock:  # the garbage collector may run here too
        del lease
    assert len(server.open) == 1
    assert pool.stats().lost_total == 1
    assert server.open == []


@pytest.mark.parametrize("look", ["stats", "maintain", "close"])
def test_a_dropped_lease_is_reclaimed_the_next_time_the_pool_looks(make, server, look):
    pool = make()
    pool.checkout()
    getattr(pool, look)()
    assert (server.open, pool.stats().lost_total) == ([], 1)


def test_a_checkout_reclaims_a_dropped_lease_instead_of_waiting(make):
    pool = make(max_size=1)
    pool.checkout()
    pool.checkout(timeout=5).checkin()
    assert pool.stats().lost_total == 1


def test_a_connection_that_was_taken_is_given_back_or_evicted(make, server, clock):
    pool = make(max_size=1)
    slot = pool.take(clock.now)
    assert (pool.stats().in_use, pool.stats().checkouts_total) == (1, 1)
    pool.give_back(slot, clock.now)
    assert pool.take(clock.now) is slot
    pool.give_back(slot, clock.now, evict=True)
    assert (server.open, pool.stats().size, pool.stats().evicted_total) == ([], 0, 1)


def test_a_taken_connection_is_never_reclaimed_as_dropped(make, server, clock):
    pool = make(max_size=1)
    pool.checkout().checkin()  # the slot had a lease, which is gone
    slot = pool.take(clock.now)
    gc.collect()
    pool.maintain()
    assert (pool.stats().in_use, pool.stats().lost_total) == (1, 0)
    pool.give_back(slot, clock.now)


def test_a_connection_that_was_taken_for_long_is_logged_as_a_leak(make, clock, caplog):
    pool = make(leak_threshold=30.0)
    slot = pool.take(clock.now)
    clock.now += 30
    pool.maintain()
    assert "test_a_connection_that_was_taken_for_long" in caplog.text
    pool.give_back(slot, clock.now)
    clock.now += 100
    pool.maintain()
    assert pool.stats().leaks_total == 1


@pytest.mark.parametrize("sooner", ["acquire_timeout", "latest"])
def test_taking_waits_until_the_sooner_of_two_limits(make, clock, sooner):
    pool = make(max_size=1, acquire_timeout=0.01 if sooner == "acquire_timeout" else 60)
    pool.take(clock.now)
    with pytest.raises(PoolTimeout):
        pool.take(clock.now, clock.now + (0.01 if sooner == "latest" else 60))


def test_a_waiter_that_timed_out_has_left_the_queue(make, clock):
    pool = make(max_size=1)
    lease = pool.checkout()
    connection = lease.connection
    gone, next_in_line = pool._queue.enqueue(clock.now), pool._queue.enqueue(clock.now)
    with pytest.raises(PoolTimeout):
        pool._queue.complete(gone, clock.now)
    lease.checkin()
    assert gone.outcome is None
    assert pool._queue.complete(next_in_line, clock.now).connection is connection
    assert (pool.stats().waiting, pool.stats().in_use) == (0, 1)


def test_repr_has_the_counts(make, clock):
    pool = make(name="taxi", max_size=2)
    leases = [pool.checkout(), pool.checkout()]
    waiter = pool._queue.enqueue(clock.now)
    assert repr(pool) == "<Pool 'taxi' max_size=2 in_use=2 idle=0 connecting=0 waiting=1>"
    pool._queue.abandon(waiter)
    leases[0].checkin()
    assert repr(pool) == "<Pool 'taxi' max_size=2 in_use=1 idle=1 connecting=0 waiting=0>"
    pool.close()
    assert "closed" in repr(pool)


def housekeepers():
    """Those of this file's pools: other tests of this process may have databases open."""
    names = ("pool housekeeper", "wwif housekeeper")
    return [t for t in threading.enumerate() if t.name in names]


def test_the_housekeeper_starts_with_the_first_checkout_and_ends_with_close(server):
    filled = threading.Event()

    def connect(remaining):
        connection = server.connect(remaining)
        if len(server.made) == 3:
            filled.set()
        return connection

    pool = Pool(connect, close=server.close, min_size=3, name="wwif")
    assert housekeepers() == []
    lease = pool.checkout()
    assert filled.wait(5), "min_size is reached without another checkout"
    (thread,) = housekeepers()
    assert (thread.daemon, thread.name) == (True, "wwif housekeeper")
    lease.checkin()
    assert pool.close(timeout=5) is True
    assert housekeepers() == []
    assert server.open == []


def test_no_housekeeper_without_periodic_work(server):
    pool = Pool(server.connect, close=server.close, max_idle=math.inf, max_lifetime=math.inf)
    pool.checkout().checkin()
    assert housekeepers() == []
    pool.close()


def test_the_housekeeper_keeps_no_pool_alive(server):
    pool = Pool(server.connect, close=server.close, max_idle=0.02)
    pool.checkout().checkin()
    (thread,) = housekeepers()
    reference = weakref.ref(pool)
    del pool
    thread.join(5)
    assert not thread.is_alive()
    assert reference() is None


def run_script(body):
    """Run `body` in an interpreter of its own, without other threads at the fork."""
    preamble = "import os, socket, sys, threading\nfrom database.pool import Pool, PoolClosed\n"
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", preamble + body],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


needs_fork = pytest.mark.parametrize("_", ["fork"] if hasattr(os, "fork") else [])

SOCKET_POOL = """
listener = socket.create_server(("127.0.0.1", 0))

def serve(peer):
    with peer:
        while data := peer.recv(100):
            peer.sendall(data.upper())

def accept():
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=serve, args=(peer,), daemon=True).start()

threading.Thread(target=accept, daemon=True).start()

class Connection:
    def __init__(self, remaining):
        self.pid = os.getpid()
        self.socket = socket.create_connection(listener.getsockname(), timeout=remaining)

    def ask(self, text):
        self.socket.sendall(text)
        return self.socket.recv(100)

    def close(self):
        assert self.pid == os.getpid(), "closed by another process"
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def __del__(self):
        # as pyodbc does: a deallocated connection disconnects, also in a child
        if self.socket.fileno() != -1:
            self.close()
"""


@needs_fork
def test_a_forked_child_starts_empty_and_leaves_the_parents_connections_alone(_):
    done = run_script(
        SOCKET_POOL
        + """
pool = Pool(Connection, close=Connection.close, max_size=3)
idle, held = pool.checkout(), pool.checkout()
idle.checkin()
child = os.fork()
if child == 0:
    assert pool.stats().size == 0
    inherited = held
    inherited.checkin()
    assert pool.stats().idle == 0, "the parent's connection is not pooled in the child"
    with pool.checkout() as lease:
        assert lease.connection.pid == os.getpid()
        assert lease.connection.ask(b"child") == b"CHILD"
    pool.invalidate()
    assert pool.close(timeout=5)
    del pool, inherited, held, idle, lease
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert held.connection.ask(b"held") == b"HELD"
held.checkin()
for lease in [pool.checkout(timeout=0), pool.checkout(timeout=0)]:
    assert lease.connection.ask(b"parent") == b"PARENT"
    lease.checkin()
assert pool.stats().connects_total == 2
assert pool.close(timeout=5)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_fork
def test_a_fork_while_a_thread_holds_the_lock_gives_the_child_a_free_one(_):
    done = run_script(
        """
pool = Pool(lambda remaining: object(), close=lambda connection: None)
pool.checkout().checkin()
locked, forked = threading.Event(), threading.Event()

def hold():
    with pool._state.lock:
        locked.set()
        forked.wait()

holder = threading.Thread(target=hold)
holder.start()
locked.wait()
child = os.fork()
if child == 0:
    pool.checkout(timeout=5).checkin()
    assert pool.stats().connects_total == 1
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
forked.set()
holder.join()
pool.checkout(timeout=0).checkin()
pool.close()
"""
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_uncontended_checkout_and_checkin_stay_cheap(server):
    pool = Pool(server.connect, close=server.close)
    rounds = 2000

    def seconds_each():
        began = time.thread_time()
        for _ in range(rounds):
            pool.checkout().checkin()
        return (time.thread_time() - began) / rounds

    assert min(seconds_each() for _ in range(5)) < 20e-6
    assert len(server.made) == 1
    pool.close()


def test_every_public_name_exists():
    assert all(hasattr(pool_module, name) for name in pool_module.__all__)


# A database that accepts no more connections


class AtLimit(Exception):
    pass


def eventually(condition):
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.001)


@pytest.fixture
def full(make, server):
    """A pool with one connection, whose database refuses a second."""
    pool = make(max_size=3, refused=lambda error: isinstance(error, AtLimit))
    held = pool.checkout()
    server.failure = AtLimit()
    return pool, held


def test_after_a_refused_connect_a_checkout_waits_for_the_pool_s_own_connections(full, server):
    pool, held = full
    leases = []
    thread = threading.Thread(target=lambda: leases.append(pool.checkout(timeout=5)))
    thread.start()
    eventually(lambda: len(server.budgets) == 2 and pool.stats().waiting == 1)
    connection = held.connection
    held.checkin()
    thread.join(5)
    assert leases[0].connection is connection
    assert len(server.budgets) == 2, "refused once, and not attempted again meanwhile"
    leases[0].checkin()


def test_the_wait_after_a_refused_connect_ends_with_the_acquire_timeout(full):
    pool, held = full
    with pytest.raises(PoolTimeout) as raised:
        pool.checkout(timeout=0.05)
    assert isinstance(raised.value.__cause__, AtLimit)
    assert pool.stats().waiting == 0
    held.checkin()


def test_a_pool_without_connections_raises_the_refusal(make, server):
    pool = make(refused=lambda error: True)
    server.failure = AtLimit()
    with pytest.raises(AtLimit):
        pool.checkout()
    assert pool.stats().size == 0


def test_connecting_resumes_when_the_last_connection_was_evicted(full, server):
    pool, held = full
    leases = []
    thread = threading.Thread(target=lambda: leases.append(pool.checkout(timeout=5)))
    thread.start()
    eventually(lambda: pool.stats().waiting == 1)
    server.failure = None
    held.evict()
    thread.join(5)
    assert leases[0].connection is server.made[-1]
    leases[0].checkin()


def test_connecting_resumes_after_a_pause(full, server, clock):
    pool, held = full
    with pytest.raises(PoolTimeout):
        pool.checkout(timeout=0.05)
    server.failure = None
    clock.now += 2
    second = pool.checkout()
    assert second.connection is server.made[-1]
    second.checkin()
    held.checkin()
