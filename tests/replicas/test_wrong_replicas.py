"""A replica that can't be trusted serves no reads; the log names it, and reads go on."""

import contextlib
import os

from embedded.cluster import API_ROLE, EmbeddedError
from testkit.cluster import new_cluster, socket_of
from testkit.proxy import Proxy
from testkit.routed import routed, wait_for_states

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")


def reads(app, path="/order/1", number=5):
    client = app.test_client()
    return [client.get(path).status_code for _ in range(number)]


def resume(standby):
    """Let a standby replay again."""
    while True:
        # A query that conflicts with replay is cancelled; it may have resumed it all the same.
        with contextlib.suppress(EmbeddedError):
            standby.run_sql("SELECT pg_wal_replay_resume()")
            return


def test_another_database_by_mistake(pair, make_app, caplog):

    def prepare(cluster):
        cluster.run_sql(f"CREATE ROLE {API_ROLE} LOGIN")

    with new_cluster(f"mistaken-{WORKER}", prepare) as other:
        text = f"{other.connection_string()} | {pair.standbys[0].connection_string()}"
        app = make_app(pair.settings(POSTGRESQLCONNSTR_WWIF_REPLICA=text))
        wait_for_states(app, "another database", "ready")
        assert reads(app) == [200] * 5
        assert routed(app) == {"replica current": 5}
    assert "WWIF-replica-1" in caplog.text
    assert "is no replica of its primary, but another database" in caplog.text
    assert "Correct its connection string." in caplog.text


def test_the_primary_itself_is_no_replica(pair, make_app):
    app = make_app(pair.settings(POSTGRESQLCONNSTR_WWIF_REPLICA=pair.primary.connection_string()))
    wait_for_states(app, "promoted")
    assert reads(app) == [200] * 5
    assert routed(app) == {"primary unavailable": 5}


def test_a_replica_that_stops_replaying_lags_until_it_goes_on(pair, make_app, caplog):
    standby = pair.standbys[0]
    app = make_app(
        pair.settings(
            POSTGRESQLCONNSTR_WWIF_REPLICA=standby.connection_string(),
            REPLICA_MAX_LAG_SECONDS="1.5",
        )
    )
    wait_for_states(app, "ready")
    standby.run_sql("SELECT pg_wal_replay_pause()")
    try:
        made = app.test_client().post("/order", json={"customer": "Lag", "amount": 1})
        wait_for_states(app, "lagging")
        assert app.test_client().get(made.headers["Location"]).status_code == 200
        assert routed(app)["primary unavailable"] == 1
        assert "WWIF-replica-1" in caplog.text
        assert "is lagging" in caplog.text
    finally:
        resume(standby)
    wait_for_states(app, "ready")
    assert app.test_client().get(made.headers["Location"]).status_code == 200


def test_a_login_that_the_replica_refuses(pair, make_app):
    text = pair.standbys[0].connection_string(role="nobody_here")
    app = make_app(pair.settings(POSTGRESQLCONNSTR_WWIF_REPLICA=text))
    client = app.test_client()
    assert client.get("/order/1").status_code == 200
    report = client.get("/health/ready").json["databases"]["WWIF"]["replicas"][0]["state"]
    assert report != "ready"


def test_reads_that_wait_for_a_frozen_replica_go_on_to_the_primary(pair, make_app):
    with Proxy(socket_of(pair.standbys[0])) as proxy:
        text = f"SERVER=127.0.0.1;PORT={proxy.port};DATABASE=app;UID={API_ROLE}"
        app = make_app(pair.settings(POSTGRESQLCONNSTR_WWIF_REPLICA=text))
        wait_for_states(app, "ready")
        assert reads(app) == [200] * 5
        proxy.freeze()
        # The connection was used a moment ago, so that no ping precedes the read.
        assert reads(app, number=2) == [200] * 2
        assert routed(app)["primary unavailable"] >= 1
        wait_for_states(app, "unreachable")
        proxy.thaw()
        wait_for_states(app, "ready")
