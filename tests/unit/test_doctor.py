"""`flask doctor`: each fault is found and comes with a remedy, and no secret is printed."""

import base64
import json
import os
import re
import subprocess
import sys
import time

import pytest
from click.testing import Result

from cli.checks import machine
from embedded.cluster import API_ROLE, EmbeddedCluster
from embedded.sample import deploy_and_fill
from settings import ROOT
from testkit.server import bare_environment


def token(*, seconds: float) -> str:
    """A token of the expected form that expires in so many seconds."""
    claims = {"aud": "https://database.windows.net/", "exp": int(time.time() + seconds)}
    parts = (base64.urlsafe_b64encode(json.dumps(p).encode()) for p in ({"alg": "none"}, claims))
    return ".".join([*(part.decode().rstrip("=") for part in parts), "signature"])


@pytest.fixture(scope="module")
def cluster(run_folder):
    """PostgreSQL with the sample, as a database of one's own."""
    made = EmbeddedCluster(
        run_folder / f"doctor-{os.getpid()}", prepare=deploy_and_fill, fingerprint="sample"
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture
def doctor(flask, cluster):
    """Run it with --json where the cluster is both databases; `environment` goes first."""

    def run(**environment: str) -> tuple[int, dict[str, tuple[str, str, str | None]]]:
        text = cluster.connection_string(role=API_ROLE)
        given = {"POSTGRESQLCONNSTR_WWIF": text, "POSTGRESQLCONNSTR_TAXI": text, **environment}
        done = flask("doctor", "--json", **given)
        return done.exit_code, findings(done)

    return run


def findings(done: Result) -> dict[str, tuple[str, str, str | None]]:
    """(status, message, remedy) by area and check; where there are several, of the last."""
    document = json.loads(done.stdout)
    return {
        f"{f['area']} {f['check']}": (f["status"], f["message"], f["remedy"])
        for f in document["findings"]
    }


def faults(found: dict[str, tuple[str, str, str | None]]) -> dict[str, tuple[str, str, str | None]]:
    return {name: finding for name, finding in found.items() if finding[0] != "ok"}


def test_the_embedded_sample_is_healthy(flask, run_folder):
    done = flask("doctor", LOCAL_DIR=str(run_folder / "postgresql"))
    assert done.exit_code == 0, done.output
    assert done.output.endswith("\nno errors, no warnings.\n")
    for area in ("This machine", "Settings", "WWIF", "TAXI"):
        assert f"\n{area}\n" in done.output


def test_a_healthy_database_is_described_for_programs(doctor):
    status, found = doctor()
    assert (status, faults(found)) == (0, {})
    assert found["WWIF connection"][1].startswith(f"PostgreSQL {'1'}")
    assert f" as {API_ROLE}, connected in " in found["WWIF connection"][1]
    assert found["TAXI schema"][1] == "Procedures: 3, tables: 0; all there, and allowed."


def test_a_wrong_setting_is_a_finding_and_not_a_refusal():
    done = subprocess.run(
        [sys.executable, "-m", "flask", "doctor"],
        cwd=ROOT,
        env=bare_environment(POOL_MAX_SIZE="abc"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "  error    POOL_MAX_SIZE=abc is wrong: it must be a whole number" in done.stdout
    assert "docs/settings.md" in done.stdout
    assert done.stdout.endswith("1 error, no warnings.\n")
    assert done.stderr == ""


def test_an_unreachable_server_and_a_missing_database(flask):
    down = "SERVER=127.0.0.1;PORT=1;DATABASE=x;UID=x;PWD=hunter2hunter2"
    done = flask("doctor", "--json", POSTGRESQLCONNSTR_WWIF=down)
    found = findings(done)
    assert done.exit_code == 1
    status, message, remedy = found["WWIF connection"]
    assert (status, message.partition(":")[0]) == (
        "error",
        "127.0.0.1/x from POSTGRESQLCONNSTR_WWIF, unreachable",
    )
    assert "firewall" in remedy
    assert found["TAXI connection"][0] == "warning"
    assert "SQLAZURECONNSTR_TAXI" in found["TAXI connection"][2]
    assert "hunter2hunter2" not in done.output


def test_a_refused_login(doctor, cluster):
    text = cluster.connection_string(role="stranger")
    status, found = doctor(POSTGRESQLCONNSTR_WWIF=text)
    assert status == 1
    assert "login refused" in found["WWIF connection"][1]
    assert (
        "Check user, password and database in POSTGRESQLCONNSTR_WWIF" in found["WWIF connection"][2]
    )
    assert found["TAXI connection"][0] == "ok"


def test_a_replica_that_is_down_is_an_error_and_one_that_answers_is_not(doctor, cluster):
    text = cluster.connection_string(role=API_ROLE)
    down = "SERVER=127.0.0.1;PORT=1;DATABASE=x;UID=x;PWD=hunter2hunter2"
    status, found = doctor(POSTGRESQLCONNSTR_WWIF_REPLICA=f"{text}|{down}")
    assert status == 1
    assert (found["WWIF connection"][0], found["WWIF-replica-1 clock"][0]) == ("ok", "ok")
    assert found["WWIF-replica-2 connection"][0] == "error"
    assert "in POSTGRESQLCONNSTR_WWIF_REPLICA" in found["WWIF-replica-2 connection"][2]


def test_a_storage_of_rates_that_does_not_answer(doctor):
    status, found = doctor(RATE_LIMIT_STORAGE="redis://:hunter2hunter2@127.0.0.1:1/0")
    assert (status, found["settings rate-limit-storage"][0]) == (0, "warning")
    assert "(127.0.0.1) does not answer" in found["settings rate-limit-storage"][1]


def test_a_missing_procedure(doctor, cluster):
    source = cluster.run_sql("SELECT pg_get_functiondef('web.delete_customer(text)'::regprocedure)")
    cluster.run_sql("DROP FUNCTION web.delete_customer(text)")
    try:
        status, found = doctor()
    finally:
        cluster.run_sql(source)
        cluster.run_sql(f"GRANT EXECUTE ON FUNCTION web.delete_customer(text) TO {API_ROLE}")
    assert status == 1
    assert faults(found) == {
        "WWIF schema": (
            "error",
            "web.delete_customer: there is no such function.",
            "Run flask sql deploy --target WWIF --app-name USER, as its administrator.",
        )
    }


@pytest.mark.parametrize(("seconds", "status"), [(600, "error"), (-20, "warning")])
def test_a_clock_that_is_wrong(doctor, cluster, seconds, status):
    """The role's own clock_timestamp() comes before that of PostgreSQL."""
    cluster.run_sql(
        "CREATE SCHEMA shifted; CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz"
        f" LANGUAGE sql AS $$SELECT pg_catalog.clock_timestamp() + '{seconds} s'::interval$$;"
        f" GRANT USAGE ON SCHEMA shifted TO {API_ROLE};"
        f" GRANT EXECUTE ON FUNCTION shifted.clock_timestamp() TO {API_ROLE};"
        f" ALTER ROLE {API_ROLE} SET search_path = shifted, pg_catalog"
    )
    try:
        exit_status, found = doctor()
    finally:
        cluster.run_sql(f"ALTER ROLE {API_ROLE} RESET search_path; DROP SCHEMA shifted CASCADE")
    assert exit_status == (1 if status == "error" else 0)
    assert found["WWIF clock"][0] == status
    direction = "ahead of" if seconds > 0 else "behind"
    stated = re.match(rf"Its clock is (\d+) s {direction} this machine's", found["WWIF clock"][1])
    assert abs(int(stated[1]) - abs(seconds)) < 10
    assert "timedatectl" in found["WWIF clock"][2]


def test_procedures_without_a_route_and_writes_without_a_key_table(doctor, cluster):
    cluster.run_sql(
        "CREATE SCHEMA api; CREATE TABLE api.made (id int);"
        " CREATE FUNCTION api.create_order(amount int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
        " CREATE FUNCTION api.get_gap(a interval) RETURNS int LANGUAGE sql AS 'SELECT 1';"
        f" GRANT USAGE ON SCHEMA api TO {API_ROLE};"
        f" REVOKE USAGE ON SCHEMA procedures_api FROM {API_ROLE}"
    )
    try:
        status, found = doctor(POSTGRESQLCONNSTR_TAXI="")
    finally:
        cluster.run_sql(
            f"DROP SCHEMA api CASCADE; GRANT USAGE ON SCHEMA procedures_api TO {API_ROLE}"
        )
    assert status == 0
    assert "api.get_gap has no route: a has the type interval" in found["WWIF procedures"][1]
    assert found["WWIF keys"][0] == "warning"
    assert "flask sql deploy --target WWIF --keys" in found["WWIF keys"][2]


def test_authentication_that_is_open_or_incomplete(doctor):
    assert faults(doctor(AUTH="none")[1]) == {
        "settings authentication": (
            "warning",
            "AUTH=none: any client may read, write and operate.",
            "Make a key with flask auth new-key NAME, then set AUTH=keys and API_KEYS.",
        )
    }
    status, found = doctor(AUTH="keys")
    assert (status, found["settings authentication"][0]) == (1, "error")


def test_an_issuer_that_does_not_answer(doctor):
    oidc = {"OIDC_ISSUER": "http://127.0.0.1:1", "OIDC_AUDIENCE": "api"}
    status, found = doctor(AUTH="oidc", **oidc)
    assert (status, found["settings issuer"][0]) == (1, "error")
    assert "no token is accepted" in found["settings issuer"][1]


@pytest.mark.parametrize(
    ("seconds", "status", "sentence"),
    [(-60, "error", "expired"), (600, "warning", "That is in 10 minutes.")],
)
def test_a_token_that_has_expired_or_will(flask, seconds, status, sentence):
    done = flask(
        *("doctor", "--json"),
        SQLAZURECONNSTR_WWIF="Server=tcp:127.0.0.1,1;Database=x",
        LOGIN_TIMEOUT_SECONDS="1",
        TOKEN=token(seconds=seconds),
    )
    found = findings(done)
    assert found["WWIF token"][0] == status
    assert sentence in found["WWIF token"][1]
    assert "TOKEN" in found["WWIF token"][2]
    # Without a token there is nothing to connect with.
    assert ("WWIF connection" in found) == (status == "warning")


def test_packages_that_are_missing_or_differ(doctor, monkeypatch, tmp_path):
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("# why\nFlask==0.1\nno-such-package==1\nFlask-RESTful\n")
    monkeypatch.setattr(machine, "REQUIREMENTS", wanted)
    status, found = doctor()
    kind, message, remedy = found["machine packages"]
    assert (status, kind) == (0, "warning")
    assert message.startswith("Flask is ")
    assert message.endswith(" instead of ==0.1; no-such-package is not installed.")
    assert "pip install -r requirements.txt" in remedy


def test_no_driver_is_installed(doctor, monkeypatch, tmp_path):
    monkeypatch.setattr("pyodbc.drivers", list)
    monkeypatch.setattr("database.connect.drivers.Path", lambda *_: tmp_path)
    status, found = doctor()
    assert status == 1
    assert found["machine driver-postgresql"][:2] == (
        "error",
        "No ODBC driver for postgresql is installed (none).",
    )
    assert "apt-get install odbc-postgresql" in found["machine driver-postgresql"][2]


SECRETS = ("Correct.Horse1", "spa_Battery-Staple.2", "eyJhbGciOiJub25lIn0")


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["text", "json"])
def test_no_secret_is_printed_whatever_is_wrong(flask, words):
    password, key, jwt = SECRETS
    done = flask(
        *("doctor", *words),
        SQLAZURECONNSTR_WWIF="Server=tcp:127.0.0.1,1;Database=x",
        SQLCONNSTR_ERP=f"Server=tcp:127.0.0.1,1;Database=x;UID=sa;PWD={password}",
        POSTGRESQLCONNSTR_TAXI=f"SERVER=127.0.0.1;PORT=1;DATABASE={password};UID=x;PWD={password}",
        POSTGRESQLCONNSTR_CRM=f"postgresql://user:{password}@127.0.0.1:1/crm",
        SQLCONNSTR_BAD=f"PWD={password}=1;{{{{",
        CONNSTR_TAXY=f"Server=x;PWD={password}",
        LOGIN_TIMEOUT_SECONDS="1",
        TOKEN=f"{jwt}.{token(seconds=-9)}",
        RATE_LIMIT_STORAGE=f"redis://:{password}@127.0.0.1:1/0",
        SQLCONNSTR_ERP_REPLICA=f"Server=tcp:127.0.0.1,1;Database={password};UID=sa;PWD={password}",
        API_KEYS=f"ann:read:{'0' * 64}",
        AUTH="keys",
        AZURE_CLIENT_SECRET=key,
    )
    assert done.exit_code == 1
    assert "SQLCONNSTR_BAD" in done.output
    assert [secret for secret in SECRETS if secret in done.output] == []


def test_the_documented_output_is_what_is_printed(flask):
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    documented = re.search(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[1]
    down = "SERVER=127.0.0.1;PORT=5433;DATABASE=erp;UID=x;PWD=y"
    done = flask("doctor", POSTGRESQLCONNSTR_ERP=down.replace("5433", "1"), AUTH="none")
    assert without_details(done.output.strip()) == without_details(documented.strip())


def without_details(printed: str) -> str:
    """Without numbers, the driver's name and its own message."""
    printed = re.sub(r"(unreachable|postgresql): .*", r"\1", printed)
    return re.sub(r"\d+", "0", re.sub(r"\d+(\.\d+)+", "0", printed))
