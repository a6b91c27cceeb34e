"""`flask token`, `flask sql check`, `flask sql deploy --sample`: output and exit status."""

import base64
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator

import click
import pytest
from click.testing import Result
from flask import Flask

import cli
from authentication.api_keys import read_keys
from cli.progress import ProgressBar
from embedded.cluster import API_ROLE, OWNER, EmbeddedCluster
from settings import ROOT
from testkit.server import bare_environment

AUDIENCE = "https://database.windows.net/"
NO_USER = "Server=tcp:nowhere.invalid;Database=WWI"
EXPIRES = 4_102_444_800  # 2100-01-01


def jwt(**claims: object) -> str:
    def part(value: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part(claims)}.signature"


# flask token


def test_a_token_is_described_and_never_shown(flask):
    token = jwt(aud=AUDIENCE, exp=EXPIRES)
    done = flask("token", SQLAZURECONNSTR_WWIF=NO_USER, TOKEN=f'"{token}"')
    assert done.exit_code == 0
    assert done.output == (
        f"WWIF: a token from TOKEN for {AUDIENCE}, expires 2100-01-01T00:00:00+00:00.\n"
        "TAXI: not configured; no token needed.\n"
    )
    assert not [part for part in token.split(".") if part in done.output]


def test_an_expired_token_is_a_failure(flask):
    token = jwt(aud=AUDIENCE, exp=int(time.time()) - 60)
    done = flask("token", SQLAZURECONNSTR_TAXI=NO_USER, TOKEN=token)
    assert done.exit_code == 1
    assert "TAXI: The token in TOKEN expired" in done.output
    assert token not in done.output


def test_no_credential_is_a_failure_with_its_reason(flask, tmp_path):
    done = flask(
        "token",
        SQLAZURECONNSTR_WWIF=NO_USER,
        LOGIN_TIMEOUT_SECONDS="10",
        # Nothing of this machine's own: no identity endpoint answers, no command is found.
        AZURE_TOKEN_CREDENTIALS="AzureCliCredential",
        PATH=str(tmp_path),
    )
    assert done.exit_code == 1
    sentence, tried, *_ = done.output.splitlines()
    assert sentence.startswith("WWIF: DefaultAzureCredential gave no access token")
    assert sentence.endswith(
        " Run az login, or set TOKEN, or add a user and a password to SQLAZURECONNSTR_WWIF."
    )
    assert tried == "  AzureCliCredential: Azure CLI not found on path"


def test_an_invalid_connection_string_is_a_failure(flask):
    done = flask("token", SQLAZURECONNSTR_WWIF="PWD=secret=1;{{", TOKEN=jwt(aud=AUDIENCE))
    assert done.exit_code == 1
    assert "WWIF: SQLAZURECONNSTR_WWIF: A connection string is" in done.output
    assert "secret" not in done.output


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "WWIF: the embedded database; no token needed."),
        (
            {"SQLCONNSTR_WWIF": f"{NO_USER};UID=api;PWD=secret"},
            "WWIF: SQLCONNSTR_WWIF has its own login; no token needed.",
        ),
        (
            {"POSTGRESQLCONNSTR_WWIF": "SERVER=nowhere.invalid;DATABASE=x"},
            "WWIF: POSTGRESQLCONNSTR_WWIF has its own login; no token needed.",
        ),
    ],
)
def test_a_database_that_needs_no_token_is_listed_as_such(flask, environment, said):
    done = flask("token", **environment)
    assert done.exit_code == 0
    assert said in done.output
    assert "secret" not in done.output


def test_the_logins_are_printed_for_programs(flask):
    token = jwt(aud=AUDIENCE, exp=EXPIRES)
    done = flask("token", "--json", SQLAZURECONNSTR_WWIF=NO_USER, TOKEN=token)
    wwif, taxi = json.loads(done.output)["databases"]
    assert (wwif["name"], wwif["ok"], wwif["credential"]) == ("WWIF", True, "TOKEN")
    assert (wwif["audience"], wwif["expires"]) == (AUDIENCE, "2100-01-01T00:00:00+00:00")
    assert (taxi["name"], taxi["ok"], taxi["credential"]) == ("TAXI", True, None)
    assert token not in done.output


# flask --help, flask auth new-key


def commands(group: click.Group, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of `group` with the words in front of its arguments."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


APP = Flask(__name__)
cli.install(APP)


@pytest.mark.parametrize(
    ("words", "command"),
    [pytest.param(*found, id=" ".join(found[0])) for found in commands(APP.cli)],
)
def test_each_command_has_an_example_that_it_accepts(words, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "procedures.lock.json").touch()
    for script in ("orders.sql", "api.sql"):
        (tmp_path / script).touch()
    _, heading, *lines = command.epilog.splitlines()
    assert heading == ("Example:" if len(lines) == 1 else "Examples:")
    for line in lines:
        flask, *typed = shlex.split(line.partition(">")[0])
        assert (flask, tuple(typed[: len(words)])) == ("flask", words)
        command.make_context(words[-1], typed[len(words) :])


def test_the_help_is_one_screen_in_sections():
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--help"],
        cwd=ROOT,
        env=bare_environment(COLUMNS="80"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 36
    assert [line for line in lines if re.fullmatch(r"[A-Z][a-z ]+:", line)] == [
        *("Start:", "Your procedures:", "Databases:", "Credentials:", "Examples:")
    ]
    listed = {line.split()[0] for line in lines if re.match(r"  [a-z]+ {2,}", line)}
    assert listed == {"run", *APP.cli.commands}
    for example in (line for line in lines if line.startswith("  flask ")):
        assert example.split()[1] in listed


@pytest.mark.parametrize(
    "words", [("--help",), ("sql", "deploy", "--help"), ("auth", "new-key", "--help"), ()], ids=str
)
def test_help_is_printed_with_a_wrong_setting_too(words):
    done = subprocess.run(
        [sys.executable, "-m", "flask", *words],
        cwd=ROOT,
        env=bare_environment(POOL_MAX_SIZE="abc"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Usage:" in done.stdout + done.stderr
    assert "Error" not in done.stderr
    assert "POOL_MAX_SIZE" not in done.stderr


def test_any_other_command_ends_with_the_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "flask", "token"],
        cwd=ROOT,
        env=bare_environment(POOL_MAX_SIZE="abc"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("POOL_MAX_SIZE=abc is wrong: ")


def test_an_invalid_key_name_is_rejected_with_the_rule(flask):
    done = flask("auth", "new-key", "my key")
    assert done.exit_code == 1
    assert done.output == (
        "Error: NAME 'my key' is wrong: it must be a name of 1 to 64 letters, digits, dots,"
        " underscores and hyphens, such as my-key.\n"
    )


@pytest.mark.parametrize("groups", ["read,write", "read+write", "read, write"])
def test_the_groups_of_a_key_may_be_joined_by_commas_or_plus(flask, groups):
    done = flask("auth", "new-key", "ann", "--groups", groups)
    assert done.exit_code == 0
    assert "\nann:read+write:" in done.output


def test_a_new_key_is_printed_for_programs(flask):
    made = json.loads(flask("auth", "new-key", "ann", "--json").output)
    (key,) = read_keys(made["API_KEYS"])
    assert (made["name"], made["header"], key.name) == ("ann", "X-API-Key", "ann")
    assert made["key"] not in made["API_KEYS"]


def test_an_unknown_group_is_named(flask):
    done = flask("auth", "new-key", "ann", "--groups", "read,delete")
    assert done.exit_code == 1
    assert "--groups 'delete' is wrong: it must be a list of read, write, operate" in done.output


# flask sql check, flask sql deploy --sample


@pytest.fixture(scope="module")
def cluster(run_folder):
    """An empty PostgreSQL database, to be deployed to as one of one's own."""
    made = EmbeddedCluster(
        run_folder / f"cli-{os.getpid()}", prepare=lambda cluster: None, fingerprint="empty"
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture
def deploy(flask, cluster):
    def run(*words: str) -> Result:
        text = cluster.connection_string(role=OWNER)
        return flask(
            *("sql", "deploy", "--target", "WWIF", "--app-name", API_ROLE, *words),
            POSTGRESQLCONNSTR_WWIF=text,
        )

    return run


@pytest.fixture
def check(flask, cluster):
    def run(*words: str) -> Result:
        text = cluster.connection_string(role=API_ROLE)
        return flask(
            *("sql", "check", *words), POSTGRESQLCONNSTR_WWIF=text, POSTGRESQLCONNSTR_TAXI=text
        )

    return run


def counts(cluster: EmbeddedCluster) -> list[int]:
    """How many customers and passengers there are."""
    tables = ("sales.customers", "dbo.titanic_passanger")
    return [int(cluster.run_sql(f"SELECT COUNT(*) FROM {table}")) for table in tables]


def test_the_sample_fills_what_is_empty_and_only_that(deploy, cluster):
    done = deploy("--sample")
    assert done.exit_code == 0, done.output
    assert "sales.customers: 663 rows of the sample." in done.output
    assert counts(cluster) == [663, 100]
    cluster.run_sql("DELETE FROM dbo.titanic_passanger")
    cluster.run_sql('DELETE FROM sales.customers WHERE "CustomerID" <> 123')
    done = deploy("--sample")
    assert "sales.customers has rows already; left as it is." in done.output
    assert counts(cluster) == [1, 100]
    who = 'SELECT "CustomerName" FROM sales.customers'
    assert cluster.run_sql(who).strip() == "Tailspin Toys (Roe Park, NY)"


def test_without_the_option_no_sample_is_loaded(deploy, cluster):
    cluster.run_sql("DELETE FROM dbo.titanic_passanger")
    assert deploy().exit_code == 0
    assert counts(cluster)[1] == 0


def test_the_sample_is_not_for_trips(flask):
    done = flask("sql", "deploy", "--target", "TAXI", "--sample", SQLCONNSTR_TAXI=NO_USER)
    assert done.exit_code == 2
    assert "--sample" in done.output


def test_a_database_that_was_deployed_to_lacks_nothing(deploy, check):
    assert deploy().exit_code == 0
    done = check()
    assert (done.exit_code, done.output) == (
        0,
        "WWIF: 8 procedures, 1 tables: all there, and allowed.\n"
        "TAXI: 3 procedures, 0 tables: all there, and allowed.\n",
    )


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            "DROP FUNCTION web.patch_customer(text)",
            "WWIF: web.patch_customer: there is no such function.",
        ),
        (
            "DROP FUNCTION web.delete_expired_requests(text)",
            "WWIF: web.delete_expired_requests: there is no such function.",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION web.put_customer(text) FROM {role}",
            "WWIF: web.put_customer: this user may not execute it.",
        ),
        (
            "DROP FUNCTION web.get_customer(text);"
            " CREATE FUNCTION web.get_customer(p json) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "WWIF: web.get_customer: its one parameter must be text.",
        ),
        (
            'REVOKE EXECUTE ON FUNCTION dbo."get_taxidataAmount_rows"(text) FROM {role}',
            "TAXI: dbo.get_taxidataAmount_rows: this user may not execute it.",
        ),
        (
            "REVOKE SELECT ON dbo.titanic_passanger FROM {role}",
            "WWIF: dbo.titanic_passanger: this user may not select from it.",
        ),
        (
            "DROP TABLE dbo.titanic_passanger",
            "WWIF: dbo.titanic_passanger: there is no such table.",
        ),
    ],
)
def test_each_missing_object_or_permission_is_listed_and_fails(
    deploy, check, cluster, damage, sentence
):
    assert deploy().exit_code == 0
    cluster.run_sql(damage.format(role=API_ROLE))
    done = check()
    assert done.exit_code == 1
    assert [line for line in done.output.splitlines() if "all there" not in line] == [sentence]
    cluster.run_sql("DROP FUNCTION IF EXISTS web.get_customer(json)")


def test_the_check_is_printed_for_programs(deploy, check, cluster):
    assert deploy().exit_code == 0
    cluster.run_sql("DROP FUNCTION web.patch_customer(text)")
    done = check("--json")
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert found["databases"]["WWIF"] == {
        "configured": True,
        "procedures": 8,
        "tables": 1,
        "missing": ["web.patch_customer: there is no such function."],
        "notes": [],
    }
    assert found["databases"]["TAXI"]["missing"] == []
    assert found["breakingChanges"] == []


def test_without_the_right_to_a_schema_nothing_in_it_is_allowed(deploy, check, cluster):
    assert deploy().exit_code == 0
    cluster.run_sql(f"REVOKE USAGE ON SCHEMA web FROM {API_ROLE}")
    done = check("--target", "WWIF")
    assert done.exit_code == 1
    assert done.output.count("this user may not execute it.") == 9
    assert "TAXI" not in done.output


def test_an_unconfigured_database_fails_only_if_it_is_the_target(flask, cluster, deploy):
    assert deploy().exit_code == 0
    text = cluster.connection_string(role=API_ROLE)
    assert flask("sql", "check", POSTGRESQLCONNSTR_WWIF=text).exit_code == 0
    asked = flask("sql", "check", "--target", "TAXI", POSTGRESQLCONNSTR_WWIF=text)
    assert (asked.exit_code, asked.output) == (1, "TAXI: not configured.\n")


def test_an_unreachable_database_is_reported_and_fails(flask, tmp_path):
    done = flask("sql", "check", POSTGRESQLCONNSTR_WWIF=f"SERVER={tmp_path};DATABASE=x;UID=x")
    assert done.exit_code == 1
    assert done.output.startswith("WWIF: ")


def test_a_deployment_to_an_unreachable_database_is_one_sentence(flask):
    down = "SERVER=127.0.0.1;PORT=1;DATABASE=x;UID=x"
    words = ("sql", "deploy", "--target", "WWIF", "--check", "--app-name", "x")
    done = flask(*words, POSTGRESQLCONNSTR_WWIF=down)
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert done.output.startswith("Error: WWIF (POSTGRESQLCONNSTR_WWIF) is unreachable: ")
    assert "Connection refused" in done.output
    assert "SQLDriverConnect" not in done.output


def test_the_embedded_default_is_checked_too(flask, run_folder):
    done = flask("sql", "check", LOCAL_DIR=str(run_folder / "postgresql"))
    assert (done.exit_code, done.output.count("all there, and allowed.")) == (0, 2)


def test_loading_trips_elsewhere_is_refused_before_anything_is_read(flask, monkeypatch, tmp_path):
    """Also without Arrow, which the container lacks."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = flask("taxi", "load", str(tmp_path / "none.parquet"), SQLCONNSTR_TAXI=NO_USER)
    assert done.exit_code == 1
    assert "supports the embedded database only" in done.output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "drawn"), [(Terminal, True), (io.StringIO, False)], ids=str)
def test_progress_is_drawn_on_a_terminal_only(monkeypatch, capsys, stream, drawn):
    monkeypatch.setattr(sys, "stderr", stream())
    with ProgressBar("Loading") as bar:
        bar.update(50, 200)
        bar.print("a sentence")
        bar.update(200, 200)
        printed = sys.stderr.getvalue()
    assert ("Loading" in printed, "200/200" in printed) == (drawn, drawn)
    assert capsys.readouterr().out == "a sentence\n"
