"""A connection lent to a library: the pool's own, under a deadline, given back clean."""

import time

import pyodbc
import pytest

from app import create_app
from database.deadline import Deadline
from database.errors import DatabaseError, DeadlineExceeded, Kind
from settings import read_settings


@pytest.fixture
def manager(run_folder):
    """A manager of its own over the embedded default, with one connection at most."""
    folder = str(run_folder / "postgresql")
    app = create_app(read_settings({"LOCAL_DIR": folder, "POOL_MAX_SIZE": "1"}))
    yield app.extensions["databases"].manager("WWIF")
    app.extensions["databases"].close()


def test_it_is_the_pools_and_goes_back_to_it(manager):
    with manager.checkout() as connection:
        assert manager.stats().in_use == 1
        assert connection.execute("SELECT ?", "Łódź 🦊").fetchval() == "Łódź 🦊"
    connection.close()
    assert (manager.stats().in_use, manager.stats().idle) == (0, 1)
    assert manager.call("web.get_customer", '{"CustomerID":123}').json
    assert manager.stats().connects_total == 1


def test_given_back_it_can_not_be_used(manager):
    connection = manager.checkout()
    connection.close()
    with pytest.raises(pyodbc.ProgrammingError, match="is closed"):
        connection.execute("SELECT 1")


def test_nothing_that_a_borrower_set_or_left_open_reaches_the_next(manager):
    with manager.checkout() as connection:
        connection.autocommit = False
        connection.execute("SELECT set_config('test.secret', 'mine', false)").fetchall()
        connection.commit()
        connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        left_open = connection.cursor()
        left_open.execute("SELECT generate_series(1, 10)").fetchone()
    with manager.checkout() as connection:
        assert connection.autocommit
        ask = "SELECT coalesce(current_setting('test.secret', true), '')"
        assert connection.execute(ask).fetchval() == ""
        ask = "SELECT current_setting('default_transaction_read_only')"
        assert connection.execute(ask).fetchval() == "off"
    assert manager.stats().connects_total == 1


def test_a_statement_that_overruns_the_deadline_is_cancelled_and_the_connection_replaced(manager):
    connection = manager.checkout(deadline=Deadline(0.2))
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        connection.execute("SELECT pg_sleep(30)")
    connection.rollback()
    connection.close()
    assert time.monotonic() - began < 10
    assert manager.call("web.get_customer", '{"CustomerID":123}').json
    assert manager.stats().connects_total == 2


def test_an_error_of_the_statement_leaves_the_connection_good(manager):
    with manager.checkout() as connection, pytest.raises(pyodbc.DataError):
        connection.execute("SELECT 1 / 0").fetchall()
    assert manager.call("web.get_customer", '{"CustomerID":123}').json
    assert manager.stats().connects_total == 1


def test_work_that_lost_its_connection_is_done_again_on_another(manager):
    seen = []

    def work():
        with manager.checkout() as connection:
            seen.append(connection)
            if len(seen) == 1:
                raise DatabaseError(Kind.LOST)
            return connection.execute("SELECT 1").fetchval()

    assert manager.retried(work, Deadline(5)) == 1
    assert len(seen) == 2
