"""The pool with many threads and the real clock."""

import itertools
import random
import socket
import statistics
import threading
import time
from pathlib import Path

import pytest

from database.pool import Pool, PoolClosed, PoolError, PoolQueueFull, PoolTimeout


class Server:
    """Opens connections that detect use by two threads; `most`: the most open at once."""

    def __init__(self):
        self.lock = threading.Lock()
        self.made = []
        self.open = set()
        self.most = 0

    def connect(self, remaining):
        connection = Connection()
        with self.lock:
            self.made.append(connection)
            self.open.add(connection)
            self.most = max(self.most, len(self.open))
        return connection

    def close(self, connection):
        with self.lock:
            self.open.remove(connection)


class Connection:
    def __init__(self):
        self._busy = threading.Lock()

    def work(self, seconds=0.0):
        assert self._busy.acquire(blocking=False), "two threads on one connection"
        time.sleep(seconds)
        self._busy.release()


class Crew:
    """A context manager that joins its threads and fails the test for their errors."""

    def __init__(self):
        self.threads = []
        self.errors = []

    def start(self, target, *args):
        def run():
            try:
                target(*args)
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=run)
        self.threads.append(thread)
        thread.start()
        return thread

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join(30)
        assert self.errors == []
        assert not any(thread.is_alive() for thread in self.threads)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def make(server):
    pools = []

    def make(connect=server.connect, **options):
        pools.append(Pool(connect, close=server.close, housekeeper=False, **options))
        return pools[-1]

    yield make
    for pool in pools:
        assert pool.close(timeout=5) is True
    assert server.open == set()


def eventually(condition):
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at, "the condition never became true"
        time.sleep(0.001)


def assert_settled(pool):
    stats = pool.stats()
    assert (stats.in_use, stats.connecting, stats.waiting) == (0, 0, 0)
    assert stats.idle <= stats.max_size


def test_waiters_are_served_first_in_first_out(make):
    pool = make(max_size=1)
    served = []

    def use(number):
        with pool.checkout() as lease:
            served.append(number)
            lease.connection.work()

    lease = pool.checkout()
    with Crew() as crew:
        for number in range(20):
            crew.start(use, number)
            eventually(lambda number=number: pool.stats().waiting == number + 1)
        lease.checkin()
    assert served == list(range(20))


def test_a_newcomer_does_not_overtake_a_waiter(make):
    pool = make(max_size=1)
    lease = pool.checkout()
    got, go = threading.Event(), threading.Event()

    def wait():
        with pool.checkout():
            got.set()
            go.wait(10)

    with Crew() as crew:
        crew.start(wait)
        eventually(lambda: pool.stats().waiting == 1)
        lease.checkin()
        with pytest.raises(PoolTimeout):
            pool.checkout(timeout=0)
        assert got.wait(10)
        go.set()


def test_an_eviction_gives_the_next_waiter_a_permit_to_connect(make, server):
    pool = make(max_size=1)
    lease = pool.checkout()
    with Crew() as crew:
        crew.start(lambda: pool.checkout().checkin())
        eventually(lambda: pool.stats().waiting == 1)
        lease.evict()
    assert len(server.made) == 2
    assert pool.stats().idle == 1


def test_a_failed_connect_passes_the_permit_on_and_each_waiter_gets_its_own_error(make):
    raised = []
    down = threading.Event()
    number = iter(range(1, 100))

    def connect(remaining):
        down.wait(10)
        raise OSError(next(number))

    pool = make(connect, max_size=1)

    def use():
        with pytest.raises(OSError) as caught:
            pool.checkout()
        raised.append(caught.value.args[0])

    with Crew() as crew:
        for _ in range(5):
            crew.start(use)
        eventually(lambda: pool.stats().waiting == 4)
        down.set()
    assert sorted(raised) == [1, 2, 3, 4, 5]
    assert_settled(pool)


def test_a_dropped_lease_serves_the_waiter(make, caplog):
    pool = make(max_size=1)
    leases = [pool.checkout()]
    with Crew() as crew:
        crew.start(lambda: pool.checkout().checkin())
        eventually(lambda: pool.stats().waiting == 1)
        leases.clear()
    assert pool.stats().lost_total == 1


def test_a_timed_out_waiter_leaves_the_queue_at_once(make):
    pool = make(max_size=1)
    lease = pool.checkout()
    began = time.monotonic()
    with pytest.raises(PoolTimeout, match=r"total 1, in use 1, idle 0, connecting 0, waiting 0"):
        pool.checkout(timeout=0.05)
    assert 0.05 <= time.monotonic() - began < 5
    assert pool.stats().timeouts_total == 1
    lease.checkin()


def test_a_full_queue_refuses_at_once(make):
    pool = make(max_size=1, max_waiting=2, acquire_timeout=20)
    lease = pool.checkout()
    with Crew() as crew:
        for _ in range(2):
            crew.start(lambda: pool.checkout().checkin())
        eventually(lambda: pool.stats().waiting == 2)
        began = time.monotonic()
        with pytest.raises(PoolQueueFull):
            pool.checkout()
        assert time.monotonic() - began < 5
        assert (pool.stats().rejected_total, pool.stats().waiting) == (1, 2)
        lease.checkin()


def test_a_pool_without_a_queue_refuses_instead_of_waiting(make):
    pool = make(max_size=1, max_waiting=0)
    with pool.checkout(), pytest.raises(PoolQueueFull):
        pool.checkout()


def test_a_lease_ended_by_many_threads_at_once_ends_once(make):
    pool = make(max_size=4)
    for _ in range(50):
        lease = pool.checkout()
        ready = threading.Barrier(8)

        def end(lease=lease, ready=ready):
            ready.wait(10)
            lease.checkin()

        with Crew() as crew:
            for _ in range(8):
                crew.start(end)
        assert pool.stats().idle == 1


def test_close_fails_the_waiters_at_once_and_waits_for_connections_in_use(make, server):
    pool = make(max_size=1, acquire_timeout=60)
    lease = pool.checkout()
    closed = []

    def wait():
        with pytest.raises(PoolClosed):
            pool.checkout()

    with Crew() as waiting, Crew() as closing:
        for _ in range(3):
            waiting.start(wait)
        eventually(lambda: pool.stats().waiting == 3)
        closing.start(lambda: closed.append(pool.close(timeout=30)))
        for thread in waiting.threads:
            thread.join(10)
        assert closed == [], "one is still in use"
        lease.checkin()
    assert closed == [True]
    assert server.open == set()


def test_connecting_does_not_block_other_checkouts(make, server):
    slow, go_on = threading.Event(), threading.Event()

    def connect(remaining):
        if threading.current_thread() is not threading.main_thread():
            slow.set()
            go_on.wait(10)
        return server.connect(remaining)

    pool = make(connect, max_size=2)
    pool.checkout().checkin()
    lease = pool.checkout()
    with Crew() as crew:
        crew.start(lambda: pool.checkout().checkin())
        assert slow.wait(10)
        lease.checkin()
        pool.checkout(timeout=0).checkin()
        assert pool.stats().connecting == 1
        go_on.set()


def test_a_timeout_that_races_a_checkin_loses_no_connection(make, server):
    pool = make(max_size=1, max_waiting=100)
    outcomes = {"got": 0, "timed out": 0}

    def hold(stop):
        while not stop.is_set():
            try:
                with pool.checkout(timeout=1) as lease:
                    lease.connection.work(0.0005)
            except PoolTimeout:
                pass

    def impatient():
        for _ in range(150):
            try:
                with pool.checkout(timeout=random.uniform(0, 0.002)) as lease:
                    lease.connection.work()
                    outcomes["got"] += 1
            except PoolTimeout:
                outcomes["timed out"] += 1

    stop = threading.Event()
    with Crew() as holders, Crew() as crew:
        holders.start(hold, stop)
        for _ in range(4):
            crew.start(impatient)
        for thread in crew.threads:
            thread.join(30)
        stop.set()
    assert min(outcomes.values()) > 0, f"the race took place: {outcomes}"
    assert_settled(pool)
    assert (len(server.made), pool.stats().idle) == (1, 1)


def test_the_invariant_holds_through_a_storm(make, server):
    def connect(remaining):
        if random.random() < 0.1:
            raise OSError("refused")
        return server.connect(remaining)

    pool = make(
        connect, max_size=4, max_waiting=6, max_lifetime=0.05, max_idle=0.02, min_size=1,
        ping=lambda connection, remaining: random.random() < 0.8, bypass_window=0.0,
    )  # fmt: skip
    stop_at = time.monotonic() + 1.5
    granted = []

    def use():
        while time.monotonic() < stop_at:
            try:
                lease = pool.checkout(timeout=random.uniform(0, 0.01))
            except (PoolError, OSError):
                continue
            lease.connection.work()
            granted.append(1)
            random.choice([lease.checkin, lease.checkin, lease.checkin, lease.evict])()

    def disturb():
        while time.monotonic() < stop_at:
            stats = pool.stats()
            assert stats.idle + stats.in_use + stats.connecting <= stats.max_size
            assert not stats.waiting or not stats.idle
            pool.maintain()
            if random.random() < 0.1:
                pool.invalidate()
            time.sleep(0.002)

    with Crew() as crew:
        for _ in range(12):
            crew.start(use)
        crew.start(disturb)
    assert_settled(pool)
    stats = pool.stats()
    assert stats.checkouts_total == len(granted) > 100
    assert len(server.open) == stats.size
    assert stats.connects_total == len(server.made)


def test_64_threads_on_8_connections_have_equal_shares(make, server):
    pool = make(max_size=8, max_waiting=64)
    stop_at = time.monotonic() + 2.0
    served = [0] * 64
    grants = itertools.count()
    turns = []  # how many others were served during one wait: no scheduler changes that

    def use(number):
        while time.monotonic() < stop_at:
            began = next(grants)
            with pool.checkout() as lease:
                turns.append(next(grants) - began)
                served[number] += 1
                lease.connection.work(0.002)

    with Crew() as crew:
        for number in range(64):
            crew.start(use, number)
        while time.monotonic() < stop_at:
            stats = pool.stats()
            assert stats.idle + stats.in_use + stats.connecting <= 8
            time.sleep(0.01)
    assert server.most == len(server.made) == 8
    assert pool.stats().timeouts_total == 0
    assert min(served) > max(served) / 2, "no thread starves"
    turns.sort()
    assert turns[-len(turns) // 100] < 3 * statistics.median(turns), "the longest waits"


def test_1000_threads_on_8_connections_all_get_a_connection_or_an_error(make):
    pool = make(max_size=8, max_waiting=50, acquire_timeout=20)
    held = [pool.checkout() for _ in range(8)]
    answers, rejections = [], []

    def use():
        began = time.monotonic()
        try:
            with pool.checkout() as lease:
                lease.connection.work()
            answers.append("served")
        except PoolQueueFull:
            rejections.append(time.monotonic() - began)
            answers.append("rejected")

    with Crew() as crew:
        for _ in range(1000):
            crew.start(use)
        eventually(lambda: len(answers) == 950)
        assert (set(answers), pool.stats().waiting) == ({"rejected"}, 50)
        for lease in held:
            lease.checkin()
    assert (answers.count("served"), answers.count("rejected")) == (50, 950)
    assert sorted(rejections)[-10] < 0.05, "seconds; the scheduler is allowed a few hiccups"
    assert_settled(pool)


def test_descriptors_and_threads_are_the_same_after_50_pools(server):
    def life():
        def connect(remaining):
            return socket.socketpair()

        def close(pair):
            for end in pair:
                end.close()

        pool = Pool(connect, close=close, min_size=2, max_size=4, max_idle=0.05)
        with Crew() as crew:
            for _ in range(6):
                crew.start(lambda: pool.checkout().checkin())
        assert pool.close(timeout=5) is True

    def counts():
        return len(list(Path("/dev/fd").iterdir())), threading.active_count()

    life()
    before = counts()
    for _ in range(50):
        life()
    assert counts() == before
