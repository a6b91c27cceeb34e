"""azure-deploy.sh against a stand-in for az that records (az_recorder.py)."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASH = shutil.which("bash")


@dataclass
class Finished:
    code: int
    said: str
    shown: str

    @property
    def printed(self) -> str:
        return self.said + self.shown


class Machine:
    """A laptop: a checkout, an az that records, a flask that records; no cloud."""

    def __init__(self, folder: Path) -> None:
        self.cloud_folder = folder / "cloud"
        self.project = folder / "a $project with 'blanks'"
        self.path = folder / "bin"
        for made in (self.cloud_folder, self.project, self.path):
            made.mkdir()
        shutil.copy(ROOT / "azure-deploy.sh", self.project)
        self.write("app.py", "")
        self.write("requirements.txt", "flask\n")
        self.write("resources/customer.py", "")
        self.write("sql/azure-sql/090_grants.sql", "CREATE USER [$(AppName)];\n")
        self.write("sql/synapse/090_grants.sql", "CREATE USER [$(AppName)];\n")
        self.write(".env", "MSSQL_SA_PASSWORD=of-the-laptop\n")
        self.write(".local/postgresql/PG_VERSION", "15\n")
        self.write("tests/unit/test_x.py", "")
        recorder = ROOT / "tests/unit/az_recorder.py"
        self.program(
            self.path / "az",
            f'exec {shlex.quote(sys.executable)} -IS {shlex.quote(str(recorder))} "$@"\n',
        )
        self.program(
            self.project / ".venv/bin/flask",
            'printf "%s\\n" "$*|TOKEN=${TOKEN:-}|WWIF=${SQLAZURECONNSTR_WWIF:-}'
            '|TAXI=${SQLAZURECONNSTR_TAXI:-}" >> "$AZ_RECORDER/flask.txt"\n'
            'if [ -e "$AZ_RECORDER/no-rights" ]; then rm "$AZ_RECORDER/no-rights"; exit 1; fi\n',
        )

    def write(self, name: str, text: str) -> None:
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def program(self, path: Path, body: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/bash\n" + body)
        path.chmod(0o755)

    def deploy(self, *words: str, answer: str = "", path: str = "", **environment: str) -> Finished:
        done = subprocess.run(
            [BASH, str(self.project / "azure-deploy.sh"), *words],
            capture_output=True,
            text=True,
            input=answer,
            timeout=60,
            check=False,
            cwd=self.path,
            env={
                "PATH": path or f"{self.path}:{os.environ['PATH']}",
                "AZ_RECORDER": str(self.cloud_folder),
                **environment,
            },
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    @property
    def calls(self) -> list[dict]:
        log = self.cloud_folder / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def commands(self) -> list[str]:
        """The words of each call up to its first option."""
        return [" ".join(call["words"]).partition(" --")[0] for call in self.calls]

    @property
    def cloud(self) -> dict:
        return json.loads((self.cloud_folder / "cloud.json").read_text())

    @property
    def flask(self) -> list[str]:
        log = self.cloud_folder / "flask.txt"
        return log.read_text().splitlines() if log.exists() else []

    def forget_calls(self) -> None:
        (self.cloud_folder / "calls.jsonl").unlink()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """A machine after one run with every database; for tests that only look."""
    machine = Machine(tmp_path_factory.mktemp("deployed"))
    machine.finished = machine.deploy(
        *EVERYTHING, "--app-name", "shop", LOCATION="West Europe", CUSTOMCONNSTR_TAXI="stale"
    )
    assert machine.finished.code == 0, machine.finished.shown
    return machine


READER = ("Storage Blob Data Reader", "/subscriptions/s/storageAccounts/trips")
EVERYTHING = (
    "--create-sql",
    "--sql-database",
    "Wide $World's {x}",
    "--synapse-workspace",
    "trips",
    "--storage-account",
    "storage",
    "--client-ip",
    "192.0.2.7",
    "--setting",
    "API_KEY=a $ecret with 'quotes' \"and\" `ticks`",
)


def test_a_second_run_ends_in_the_same_state_and_makes_nothing(machine):
    assert machine.deploy(*EVERYTHING).code == 0
    first = machine.cloud
    made = [command for command in machine.commands if command.endswith(" create")]
    machine.forget_calls()

    assert machine.deploy(*EVERYTHING).code == 0

    assert machine.cloud == first
    again = [command for command in machine.commands if command.endswith(" create")]
    assert {"group create", "webapp create", "sql server create", "sql db create"} <= set(made)
    # these two are put, not made: the cloud answers the existing one
    assert set(again) == {"sql server firewall-rule create", "role assignment create"}


def test_the_app_is_configured_before_it_gets_its_code(deployed):
    order = [
        "group create",
        "appservice plan create",
        "webapp create",
        "webapp identity assign",
        "sql server create",
        "sql db create",
        "sql server firewall-rule create",
        "role assignment create",
        "webapp config connection-string set",
        "webapp config appsettings set",
        "webapp config set",
        "account get-access-token",
        "webapp up",
        "webapp show",
    ]
    places = [deployed.commands.index(command) for command in order]
    assert places == sorted(places)


def test_the_app_is_closed_to_plain_http_old_tls_ftp_and_passwords(deployed):
    (app,) = deployed.cloud["app"].values()
    assert app["config"]["https-only"] == "true"
    assert app["config"]["min-tls-version"] == "1.2"
    assert app["config"]["ftps-state"] == "Disabled"
    assert json.loads(app["config"]["generic-configurations"]) == {
        "healthCheckPath": "/health/ready"
    }
    assert app["config"]["startup-file"] == "gunicorn app:app"
    assert app["basic-auth"] == "Disabled"
    (server,) = deployed.cloud["server"].values()
    assert server["enable-ad-only-auth"] is True
    assert not any("password" in word.lower() for call in deployed.calls for word in call["words"])


def test_the_apps_and_the_workspaces_identity_may_read_the_trips_and_nothing_else(deployed):
    assert deployed.cloud["roles"] == [
        ["workspace-principal-id", *READER],
        ["principal-id", *READER],
    ]


def test_blanks_dollars_quotes_and_braces_arrive_unchanged(deployed):
    (app,) = deployed.cloud["app"].values()
    assert list(deployed.cloud["database"]) == ["Wide $World's {x}"]
    assert app["connection-string"]["WWIF"].endswith(
        ".database.windows.net,1433;Database={Wide $World's {x}}};Encrypt=yes"
    )
    assert app["appsettings"]["API_KEY"] == "a $ecret with 'quotes' \"and\" `ticks`"
    (server,) = deployed.cloud["server"].values()
    assert server["external-admin-name"] == "O'Hara $1@example.org"
    assert server["location"] == "West Europe"


def test_what_is_shown_is_what_is_run(deployed):
    shown = [
        shlex.split(line)[2:]
        for line in deployed.finished.shown.splitlines()
        if line.startswith("+ az ")
    ]
    unshown = ("account show", "account get-access-token")
    run = [call["words"] for call in deployed.calls if " ".join(call["words"][:2]) not in unshown]
    quiet = ["--output", "none"]
    assert shown == [words[:-2] if words[-2:] == quiet else words for words in run]


def test_secrets_are_neither_printed_nor_on_a_command_line(machine):
    finished = machine.deploy(
        "--setting",
        "API_KEY=sesame-1",
        "--sql-server",
        "existing",
        TAXI_CONNECTION_STRING="Server=s;UID=u; pwd = {sesame;}}2} ;Password=sesame3;Database=d",
        SYNAPSE_WORKSPACE="",
    )
    assert finished.code == 0
    (app,) = machine.cloud["app"].values()
    assert app["appsettings"]["API_KEY"] == "sesame-1"
    assert (
        app["connection-string"]["TAXI"]
        == "Server=s;UID=u; pwd = {sesame;}}2} ;Password=sesame3;Database=d"
    )
    assert machine.flask[0].split("|")[1] == "TOKEN=the-token-of-the-caller"
    command_lines = json.dumps([call["words"] for call in machine.calls])
    for secret in ("sesame", "the-token-of-the-caller"):
        assert secret not in finished.printed
        assert secret not in command_lines
    assert "TAXI=Server=s;UID=u; pwd = *** ;Password=***;Database=d" in finished.shown


def test_the_database_gets_its_procedures_by_the_callers_token(deployed):
    wwif, taxi = deployed.flask
    assert wwif == (
        "sql deploy --target WWIF --app-name shop|TOKEN=the-token-of-the-caller"
        "|WWIF=Server=tcp:shop-sql.database.windows.net,1433;Database={Wide $World's {x}}};"
        "Encrypt=yes|TAXI="
    )
    assert taxi.startswith("sql deploy --target TAXI --app-name shop --set StorageAccount=storage ")
    assert "|WWIF=|TAXI=Server=tcp:trips-ondemand.sql.azuresynapse.net,1433;" in taxi
    assert "CREATE USER [shop];" in deployed.finished.said


def test_without_grants_the_sql_is_printed_and_none_is_run(machine):
    finished = machine.deploy("--create-sql", "--app-name", "shop", "--no-grants")
    assert finished.code == 0
    assert machine.flask == []
    assert "CREATE USER [shop];" in finished.said


def test_a_grant_refused_once_is_tried_again_after_the_code_is_deployed(machine):
    (machine.cloud_folder / "no-rights").touch()
    finished = machine.deploy("--create-sql")
    assert finished.code == 0
    assert len(machine.flask) == 2


def test_a_grant_that_stays_refused_ends_in_a_sentence_with_the_code_deployed(machine):
    machine.program(machine.project / ".venv/bin/flask", "exit 1\n")
    finished = machine.deploy("--create-sql")
    assert finished.code == 1
    assert "the code is deployed, but not all of the SQL" in finished.shown
    assert "webapp up" in machine.commands


def test_the_package_holds_the_program_and_not_the_laptop(deployed):
    (files,) = [call["files"] for call in deployed.calls if call["files"] is not None]
    assert {"app.py", "requirements.txt", "resources/customer.py"} <= set(files)
    assert "sql/azure-sql/090_grants.sql" in files
    assert [name for name in files if name.startswith((".", "tests"))] == []


def test_a_dry_run_prints_every_command_and_calls_nothing(machine):
    finished = machine.deploy("--dry-run", *EVERYTHING)
    assert finished.code == 0
    assert machine.calls == []
    assert machine.flask == []
    for command in ("group create", "sql db create", "role assignment create", "webapp up"):
        assert f"+ az {command} " in finished.shown
    assert "ecret" not in finished.printed


def test_a_dry_run_needs_no_az(machine, tmp_path):
    assert machine.deploy("--dry-run", "--create-sql", path=without_az(tmp_path)).code == 0


def without_az(tmp_path: Path) -> str:
    """A PATH of the ordinary programs the script uses, az not among them."""
    folder = tmp_path / "no-az"
    folder.mkdir()
    for name in ("cat", "sed", "tr", "cksum", "cut", "dirname", "tar", "mktemp", "rm"):
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)


def test_a_missing_az_is_one_sentence(machine, tmp_path):
    finished = machine.deploy("--create-sql", path=without_az(tmp_path))
    assert finished.code == 1
    assert finished.shown.startswith("azure-deploy.sh: the Azure CLI (az) is not installed")
    assert finished.shown.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "environment", "sentence"),
    [
        ((), {}, "no database is named"),
        (("--synapse-workspace", "trips"), {}, "STORAGE_ACCOUNT is unset"),
        (("--create-sql", "--app-name", "my app"), {}, "may hold letters, digits"),
        (("--create-sql", "--app-name", "a"), {}, "2 to 60 characters"),
        (("--sql-server", "s.database.windows.net"), {}, "without their domain"),
        (("--location",), {}, "--location needs a value"),
        (("--colour", "red"), {}, "'--colour' is not an option"),
        (("now",), {}, "'now' is not an option"),
        (("--create-sql", "--setting", "sesame"), {}, "--setting takes KEY=VALUE"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_changes_nothing(machine, words, environment, sentence):
    finished = machine.deploy(*words, **environment)
    assert finished.code == 1
    assert sentence in finished.shown
    assert finished.shown.count("\n") == 1
    assert set(machine.commands) <= {"account show"}


def test_not_logged_in_is_one_sentence(machine):
    (machine.cloud_folder / "fail").write_text("account show")
    finished = machine.deploy("--create-sql")
    assert finished.code == 1
    assert finished.shown == "azure-deploy.sh: az is not logged in: run 'az login' first.\n"


def test_a_list_that_fails_is_not_taken_for_nothing_there(machine):
    (machine.cloud_folder / "fail").write_text("webapp list")
    finished = machine.deploy("--create-sql")
    assert finished.code == 1
    assert "webapp create" not in machine.commands


def test_a_failed_step_stops_the_script(machine):
    (machine.cloud_folder / "fail").write_text("sql db create")
    assert machine.deploy("--create-sql").code != 0
    assert "webapp up" not in machine.commands


def test_the_derived_name_is_the_same_each_time_and_differs_by_group(machine):
    machine.deploy("--create-sql")
    machine.deploy("--create-sql", "--resource-group", "another")
    assert len(machine.cloud["app"]) == 2


def test_delete_removes_what_was_made_and_can_be_run_again(machine):
    machine.deploy(*EVERYTHING)
    machine.forget_calls()
    finished = machine.deploy("--delete", "--yes", "--storage-account", "storage")
    assert finished.code == 0
    assert machine.cloud == {"roles": [["workspace-principal-id", *READER]]}
    assert machine.commands[-1] == "group delete"
    assert machine.commands.index("role assignment delete") < machine.commands.index("group delete")
    again = machine.deploy("--delete", "--yes", "--storage-account", "storage")
    assert again.code == 0
    assert "nothing to remove" in again.said


def test_delete_spares_a_group_that_was_there_before(machine):
    (machine.cloud_folder / "cloud.json").write_text(
        json.dumps({"group": {"ours": {"tags": "owner=finance"}}})
    )
    words = ("--resource-group", "ours", "--app-name", "shop")
    assert machine.deploy(*words, "--sql-server", "existing").code == 0
    finished = machine.deploy(*words, "--delete", "--yes")
    assert finished.code == 0
    assert machine.cloud["group"] == {"ours": {"tags": "owner=finance"}}
    assert machine.cloud["app"] == {}
    assert "DROP USER IF EXISTS [shop];" in finished.said


@pytest.mark.parametrize("answer", ["", "yes\n", "another\n"])
def test_delete_asks_for_the_apps_name(machine, answer):
    before = {
        "app": {"shop": {}},
        "group": {"sql-procedures-api": {"tags": "made-by=azure-deploy.sh"}},
    }
    (machine.cloud_folder / "cloud.json").write_text(json.dumps(before))
    finished = machine.deploy("--delete", "--app-name", "shop", answer=answer)
    assert finished.code == 1
    assert "nothing was removed" in finished.shown
    assert machine.cloud == before


def test_every_option_in_the_help_is_understood_with_its_variable(machine):
    """Names given as flags and the same names given as variables print the same commands."""
    named = {}
    for line in machine.deploy("--help").said.splitlines():
        words = line.split()
        if line.startswith("  --") and len(words) > 2 and words[2].startswith("["):
            named[words[0]] = words[2].strip("[]")
    assert len(named) >= 18
    values = {flag: f"v{number}x" for number, flag in enumerate(named)}
    flags = [word for flag, value in values.items() for word in (flag, value)]
    variables = {named[flag]: value for flag, value in values.items()}
    by_flag = machine.deploy("--dry-run", "--create-sql", *flags)
    by_variable = machine.deploy("--dry-run", CREATE_SQL="1", **variables)
    assert by_flag == by_variable
    assert by_flag.code == 0
    assert [flag for flag, value in values.items() if value not in by_flag.printed] == []
