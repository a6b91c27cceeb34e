"""azure-deploy.sh against a stand-in for az that records (az_recorder.py)."""

import contextlib
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit.server import bare_environment

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
        self.write("package.json", "{}")
        self.write(".gitignore", ".env\n.local/\n.venv/\n")
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "all")
        self.program(
            self.project / ".venv/bin/flask",
            'if [ "$*" = "sql driver" ]; then\n'
            '    [ ! -e "$AZ_RECORDER/no-driver" ] || { echo "Error: No ODBC driver"; exit 1; }\n'
            "    exit 0\n"
            "fi\n"
            'if [ "$1 $2" = "auth new-key" ]; then\n'
            '    echo "X-API-Key: made" >&2; echo "$3:${5//,/+}:digest"; exit\n'
            "fi\n"
            'printf "%s\\n" "$*|TOKEN=${TOKEN:-}|WWIF=${SQLAZURECONNSTR_WWIF:-}'
            '|TAXI=${SQLAZURECONNSTR_TAXI:-}" >> "$AZ_RECORDER/flask.txt"\n'
            'if [ -e "$AZ_RECORDER/no-rights" ]; then\n'
            '    cat "$AZ_RECORDER/no-rights" >&2; rm "$AZ_RECORDER/no-rights"; exit 1\n'
            "fi\n",
        )

    def write(self, name: str, text: str) -> None:
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self.project), *words], check=True)

    def program(self, path: Path, body: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/bash\n" + body)
        path.chmod(0o755)

    def deploy(
        self,
        *words: str,
        answer: str = "",
        path: str = "",
        project: Path | None = None,
        **environment: str,
    ) -> Finished:
        done = subprocess.run(
            [BASH, str((project or self.project) / "azure-deploy.sh"), *words],
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

    @property
    def package(self) -> set[str]:
        """The files of the last archive that was sent."""
        *_, files = [call["files"] for call in self.calls if call["files"] is not None]
        return set(files)

    def sent(self, name: str) -> str:
        with zipfile.ZipFile(self.cloud_folder / "code.zip") as archive:
            return archive.read(name).decode()

    def unpack(self, folder: Path) -> None:
        with zipfile.ZipFile(self.cloud_folder / "code.zip") as archive:
            archive.extractall(folder)

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


READER = (
    "Storage Blob Data Reader",
    "/subscriptions/s/storageAccounts/trips/blobServices/default/containers/taxidata",
)
KEYS = ("--setting", "AUTH=keys", "--setting", "API_KEYS=me:read:digest")
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
    *KEYS,
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
    # the plan is unchanged too, because its size and number of workers may have been edited
    assert not any(
        "appservice" in command or command == "webapp up" for command in machine.commands
    )


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
        "webapp log config",
        "account get-access-token",
        "webapp deploy",
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
        "healthCheckPath": "/health/live"
    }
    assert app["config"]["startup-file"] == "exec gunicorn app:app"
    assert app["basic-auth"] == "Disabled"
    (server,) = deployed.cloud["server"].values()
    assert server["enable-ad-only-auth"] is True
    assert not any("password" in word.lower() for call in deployed.calls for word in call["words"])


def test_only_the_workspaces_identity_may_read_the_trips_and_nothing_else(deployed):
    assert deployed.cloud["roles"] == [["workspace-principal-id", *READER]]


def test_the_app_has_the_time_to_stop_and_knows_its_proxy(deployed):
    (app,) = deployed.cloud["app"].values()
    settings = app["appsettings"]
    assert settings["SCM_DO_BUILD_DURING_DEPLOYMENT"] == "true"
    assert settings["TRUSTED_PROXIES"] == "1"
    graceful = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["graceful_timeout"]
    assert graceful < int(settings["WEBSITES_CONTAINER_STOP_TIME_LIMIT"]) <= 120


def test_the_log_that_the_documents_name_is_switched_on(deployed):
    (app,) = deployed.cloud["app"].values()
    assert app["config"]["docker-container-logging"] == "filesystem"


def test_a_setting_that_the_app_has_is_left_alone(machine):
    words = ("--sql-server", "existing", "--app-name", "shop")
    machine.deploy(*words, *KEYS, "--setting", "TRUSTED_PROXIES=2")
    assert machine.cloud["app"]["shop"]["appsettings"]["TRUSTED_PROXIES"] == "2"
    machine.forget_calls()
    assert machine.deploy(*words).code == 0
    assert machine.cloud["app"]["shop"]["appsettings"]["TRUSTED_PROXIES"] == "2"
    assert "webapp config appsettings set" not in machine.commands


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
        *KEYS,
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
    wwif, created, taxi = deployed.flask
    client_id = "--app-client-id 99999999-8888-7777-6666-555555555555"
    assert wwif == (
        f"sql deploy --target WWIF --app-name shop {client_id} --app-object-id principal-id"
        "|TOKEN=the-token-of-the-caller"
        "|WWIF=Server=tcp:shop-sql.database.windows.net,1433;Database={Wide $World's {x}}};"
        "Encrypt=yes|TAXI="
    )
    assert created.startswith("sql create-database --target TAXI|TOKEN=the-token-of-the-caller|")
    assert taxi.startswith(
        f"sql deploy --target TAXI --app-name shop {client_id} --set StorageAccount=storage "
    )
    for line in (created, taxi):
        assert "|WWIF=|TAXI=Server=tcp:trips-ondemand.sql.azuresynapse.net,1433;" in line
    assert "CREATE USER [shop];" in deployed.finished.said


def test_the_place_of_the_trips_is_made_and_the_upload_printed(deployed):
    assert list(deployed.cloud["container"]) == ["taxidata"]
    (line,) = [x for x in deployed.finished.said.splitlines() if x.startswith("+ az storage blob")]
    assert line.endswith(
        " --account-name storage --container-name taxidata --name taxidata/taxidata.parquet"
        " --file data/taxidata.parquet"
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [("/*.parquet", "taxidata.parquet"), ("/a/b/*.parquet", "a/b/taxidata.parquet")],
)
def test_the_upload_goes_where_the_external_table_reads(machine, path, name):
    words = ("--synapse-workspace", "trips", "--storage-account", "storage", "--storage-path", path)
    assert f" --name {name} " in machine.deploy("--dry-run", *words).said


def test_in_another_cloud_server_and_audience_have_its_suffix(machine):
    suffix = ".database.chinacloudapi.cn"
    (machine.cloud_folder / "cloud.json").write_text(json.dumps({"suffix": suffix}))
    assert machine.deploy("--create-sql", "--app-name", "shop", *KEYS).code == 0
    app = machine.cloud["app"]["shop"]
    assert f"Server=tcp:shop-sql{suffix},1433;" in app["connection-string"]["WWIF"]
    (token,) = [call["words"] for call in machine.calls if "get-access-token" in call["words"]]
    assert token[token.index("--resource") + 1] == "https://database.chinacloudapi.cn/"


def test_without_grants_sql_and_role_are_printed_and_nothing_is_granted(machine):
    words = (*EVERYTHING, "--app-name", "shop", "--no-grants")
    shutil.rmtree(machine.project / ".venv")
    finished = machine.deploy(*words)
    assert finished.code == 0
    assert machine.flask == []
    assert "roles" not in machine.cloud
    assert "CREATE USER [shop];" in finished.said
    assert "WITH OBJECT_ID = 'principal-id';" in finished.said
    assert "+ az role assignment create --assignee-object-id workspace-prin" in finished.said
    assert "Have an administrator of the database run" in finished.said


def test_a_grant_refused_once_is_tried_again_after_the_code_is_deployed(machine):
    (machine.cloud_folder / "no-rights").touch()
    finished = machine.deploy("--create-sql", *KEYS)
    assert finished.code == 0
    assert len(machine.flask) == 2


def test_a_grant_that_stays_refused_ends_in_a_sentence_with_the_code_deployed(machine):
    machine.program(
        machine.project / ".venv/bin/flask", '[ "$*" = "sql driver" ] && exit 0\nexit 1\n'
    )
    finished = machine.deploy("--create-sql", *KEYS)
    assert finished.code == 1
    assert "the code was deployed, but not all of the SQL" in finished.shown
    assert "webapp deploy" in machine.commands


def test_a_failed_start_does_not_keep_the_second_try_of_the_grants_and_the_sentence(machine):
    (machine.cloud_folder / "no-rights").touch()
    (machine.cloud_folder / "fail").write_text("webapp deploy")
    finished = machine.deploy("--create-sql", *KEYS)
    assert finished.code == 1
    assert len(machine.flask) == 2
    assert "'az webapp log tail --name" in finished.shown
    assert "Running" not in finished.said
    assert machine.commands.count("webapp deploy") == 1


def test_a_deployment_that_the_platforms_own_restart_ended_is_tried_again(machine):
    sentence = "Deployment has been stopped due to SCM container restart."
    (machine.cloud_folder / "fail").write_text(f"webapp deploy\n{sentence}")
    assert machine.deploy("--create-sql", *KEYS).code == 0
    assert machine.commands.count("webapp deploy") == 2


def test_client_ip_auto_opens_the_server_to_the_rejected_address(machine):
    (machine.cloud_folder / "no-rights").write_text(
        "Error: Cannot open server 'shop-sql' requested by the login. Client with IP address"
        " '203.0.113.7' is not allowed to access the server. (40615)\n"
    )
    finished = machine.deploy("--create-sql", "--client-ip", "auto", *KEYS)
    assert finished.code == 0
    (server,) = machine.cloud["server"].values()
    assert server["rules"] == {"AllowAzureServices": "0.0.0.0", "DeployingMachine": "203.0.113.7"}
    assert len(machine.flask) == 2
    order = ["sql server firewall-rule create", "account get-access-token"] * 2 + ["webapp deploy"]
    assert [c for c in machine.commands if c in order] == order


def test_the_package_holds_what_git_tracks_as_it_is_now(deployed, machine):
    assert {"app.py", "requirements.txt", "resources/customer.py"} <= deployed.package
    assert "sql/azure-sql/090_grants.sql" in deployed.package
    assert [n for n in deployed.package if n.startswith((".", "tests", "package"))] == []

    machine.write("resources/customer.py", "# changed, not committed\n")
    machine.write("resources/untracked.py", "")
    finished = machine.deploy("--sql-server", "existing", *KEYS)
    assert finished.code == 0
    assert "resources/untracked.py" not in machine.package
    assert "does not track them:\nresources/untracked.py\n" in finished.said
    assert machine.sent("resources/customer.py") == "# changed, not committed\n"


def test_a_dry_run_prints_every_command_and_calls_nothing(machine):
    finished = machine.deploy("--dry-run", *EVERYTHING)
    assert finished.code == 0
    assert machine.calls == []
    assert machine.flask == []
    for command in ("group create", "sql db create", "role assignment create", "webapp deploy"):
        assert f"+ az {command} " in finished.shown
    assert "ecret" not in finished.printed


def test_a_dry_run_needs_no_az(machine, tmp_path):
    assert machine.deploy("--dry-run", "--create-sql", path=without_az(tmp_path)).code == 0


def without_az(tmp_path: Path) -> str:
    """A PATH of the ordinary programs the script uses, az not among them."""
    folder = tmp_path / "no-az"
    folder.mkdir()
    programs = ("cat", "sed", "tr", "cksum", "cut", "dirname", "grep", "git", "tee", "head")
    for name in (*programs, "mktemp", "rm"):
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
        (("--create-sql", "--app-name", "my app"), {}, "use letters, digits"),
        (("--create-sql", "--app-name", "a"), {}, "2 to 60 characters"),
        (("--sql-server", "s.database.windows.net"), {}, "without their domain"),
        (("--location",), {}, "--location needs a value"),
        (("--colour", "red"), {}, "'--colour' is not an option"),
        (("now",), {}, "'now' is not an option"),
        (("--create-sql", "--setting", "sesame"), {}, "--setting needs the form KEY=VALUE"),
        (("--create-sql",), {}, "AUTH is not set"),
        (("--create-sql", "--setting", "AUTH="), {}, "AUTH is not set"),
        (("--create-sql", "--setting", "AUTH=loopback"), {}, "AUTH is not set"),
        (("--create-sql", "--setting", "AUTH=keys"), {}, "AUTH=keys needs API_KEYS"),
        (
            ("--create-sql", "--setting", "AUTH=keys, oidc", *KEYS[2:]),
            {},
            "AUTH=oidc needs OIDC_ISSUER",
        ),
        (("--create-sql", "--setting", "AUTH=easyauth"), {}, "sign-in"),
        (
            ("--create-sql", "--use-free-limit", "--health-path", "/health/ready", *KEYS),
            {},
            "free 100,000 vCore seconds",
        ),
    ],
)
def test_a_wrong_call_is_one_sentence_and_changes_nothing(machine, words, environment, sentence):
    finished = machine.deploy(*words, **environment)
    assert finished.code == 1
    assert sentence in finished.shown
    said = [x for x in finished.shown.splitlines() if not x.startswith("+ az group exists")]
    assert len(said) == 1
    assert set(machine.commands) <= {"account show", "group exists"}


def test_a_missing_local_requirement_is_one_sentence_before_anything_is_created(machine, tmp_path):
    words = ("--create-sql", *KEYS)
    # a flask on PATH is not taken for the checkout's
    machine.program(machine.path / "flask", 'echo "$*" >> "$AZ_RECORDER/flask.txt"\n')
    (machine.cloud_folder / "no-driver").touch()
    finished = machine.deploy(*words)
    assert finished.code == 1
    assert "Error: No ODBC driver" in finished.shown
    assert "cannot run the SQL scripts" in finished.shown
    shutil.rmtree(machine.project / ".venv")
    finished = machine.deploy(*words)
    assert finished.code == 1
    assert "the folder .venv" in finished.shown
    shutil.rmtree(machine.project / ".git")
    finished = machine.deploy(*words, "--no-grants")
    assert finished.code == 1
    assert "is not a git checkout with a commit" in finished.shown
    assert machine.flask == []
    assert set(machine.commands) == {"account show", "group exists"}


def test_a_workspace_that_is_not_there_is_one_sentence_before_anything_is_created(machine):
    (machine.cloud_folder / "fail").write_text("storage account show")
    finished = machine.deploy(*EVERYTHING)
    assert finished.code == 1
    assert "there is no storage account 'storage' in this subscription" in finished.shown
    assert not [command for command in machine.commands if command.endswith(" create")]


def test_auth_that_the_app_has_already_is_enough(machine):
    words = ("--sql-server", "existing", "--app-name", "shop")
    assert machine.deploy(*words, *KEYS).code == 0
    assert machine.deploy(*words).code == 0
    finished = machine.deploy(*words, "--setting", "API_KEYS=")
    assert finished.code == 1
    assert "AUTH=keys needs API_KEYS" in finished.shown


def test_an_app_on_a_plan_of_its_own_gets_no_second_plan(machine):
    before = {
        "app": {"shop": {"appsettings": {"AUTH": "none"}, "plan": "ours"}},
        "group": {"sql-procedures-api": {"tags": "owner=finance"}},
    }
    (machine.cloud_folder / "cloud.json").write_text(json.dumps(before))
    assert machine.deploy("--sql-server", "existing", "--app-name", "shop").code == 0
    assert "plan" not in machine.cloud
    assert not any("appservice" in command for command in machine.commands)


@pytest.mark.parametrize(
    ("words", "pause", "free", "capacity"),
    [
        ((), "60", None, "1"),
        (("--use-free-limit",), "60", "true", "2"),
        (("--health-path", "/health/ready"), "-1", None, "1"),
    ],
)
def test_the_health_check_and_the_pause_of_the_database_do_not_fight(
    machine, words, pause, free, capacity
):
    assert machine.deploy("--create-sql", *KEYS, *words).code == 0
    (database,) = machine.cloud["database"].values()
    assert database["auto-pause-delay"] == pause
    assert database.get("use-free-limit") == free
    assert database["capacity"] == capacity


def test_not_logged_in_is_one_sentence(machine):
    (machine.cloud_folder / "fail").write_text("account show")
    finished = machine.deploy("--create-sql", *KEYS)
    assert finished.code == 1
    assert finished.shown == "azure-deploy.sh: az is not logged in: run 'az login' first.\n"


def test_a_failed_list_is_not_treated_as_empty(machine):
    machine.deploy("--create-sql", *KEYS)
    machine.forget_calls()
    (machine.cloud_folder / "fail").write_text("webapp list")
    finished = machine.deploy("--create-sql", *KEYS)
    assert finished.code == 1
    assert "webapp create" not in machine.commands


def test_a_failed_step_stops_the_script(machine):
    (machine.cloud_folder / "fail").write_text("sql db create")
    assert machine.deploy("--create-sql", *KEYS).code != 0
    assert "webapp deploy" not in machine.commands


def test_the_derived_name_is_the_same_each_time_and_differs_by_group(machine):
    machine.deploy("--create-sql", *KEYS)
    machine.deploy("--create-sql", *KEYS, "--resource-group", "another")
    assert len(machine.cloud["app"]) == 2


def test_delete_removes_what_was_made_and_can_be_run_again(machine):
    machine.deploy(*EVERYTHING)
    machine.forget_calls()
    finished = machine.deploy("--delete", "--yes")
    assert finished.code == 0
    # the storage account belongs to another group, and so does the workspace that reads it
    assert set(machine.cloud) == {"roles", "container"}
    assert machine.commands[-1] == "group delete"
    again = machine.deploy("--delete", "--yes")
    assert again.code == 0
    assert "nothing to remove" in again.said


def test_delete_spares_a_group_that_was_there_before(machine):
    (machine.cloud_folder / "cloud.json").write_text(
        json.dumps({"group": {"ours": {"tags": "owner=finance"}}})
    )
    words = ("--resource-group", "ours", "--app-name", "shop")
    assert machine.deploy(*words, "--sql-server", "existing", *KEYS).code == 0
    finished = machine.deploy(*words, "--delete", "--yes")
    assert finished.code == 0
    assert machine.cloud["group"] == {"ours": {"tags": "owner=finance"}}
    assert machine.cloud["app"] == {}
    assert "DROP USER IF EXISTS [shop];" in finished.said


@pytest.mark.parametrize("answer", ["", "yes\n", "another\n"])
def test_delete_requires_the_apps_name_as_confirmation(machine, answer):
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


def test_the_documented_lines_work_as_printed(machine):
    """docs/azure.md's first block, as a reader pastes it; scripts/run has been run before."""
    block = re.search(r"```sh\n(.*?)```", (ROOT / "docs/azure.md").read_text(), re.DOTALL)[1]
    lines = [line for line in block.splitlines() if not line.startswith("scripts/run")]
    assert lines[0] == "az login"
    assert lines[-1].startswith("./azure-deploy.sh --create-sql ")
    done = subprocess.run(
        [BASH, "-e"],
        capture_output=True,
        text=True,
        input="\n".join(lines),
        timeout=60,
        check=False,
        cwd=machine.project,
        env={
            "PATH": f"{machine.path}:{os.environ['PATH']}",
            "AZ_RECORDER": str(machine.cloud_folder),
        },
    )
    assert done.returncode == 0, done.stderr
    (app,) = machine.cloud["app"].values()
    assert app["appsettings"]["AUTH"] == "keys"
    assert app["appsettings"]["API_KEYS"] == "me:read+write:digest"
    assert app["code"] == {"type": "zip", "track-status": "true"}
    sentences = done.stdout.splitlines()
    host = re.fullmatch(r"Running: (https://\S+)/", sentences[-2])[1]
    assert sentences[-1].startswith(f"State of its databases: {host}/health/ready ")
    assert "azure-deploy.sh:" not in done.stderr
    (line,) = machine.flask
    assert line.startswith("sql deploy --target WWIF --app-name ")


def test_what_is_deployed_starts_by_its_startup_command_and_stops_by_a_sigterm_to_its_shell(
    machine, tmp_path
):
    """As App Service does it: the archive unpacked, the app's settings, and a start script of sh,
    whose last line is the startup command, as the process that gets SIGTERM."""
    anyone_owns_it = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    words = ("--sql-server", "existing", "--no-grants", "--setting", "AUTH=none")
    finished = machine.deploy(*words, project=ROOT, **anyone_owns_it)
    assert finished.code == 0, finished.shown
    (app,) = machine.cloud["app"].values()
    site = tmp_path / "wwwroot"
    machine.unpack(site)
    start = tmp_path / "startup.sh"
    start.write_text(
        f"cd '{site}'\nexport PYTHONDONTWRITEBYTECODE=1\n{app['config']['startup-file']}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["/bin/sh", str(start)],
        env=bare_environment(
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            PORT=str(port),
            WEBSITE_SITE_NAME="shop",
            WEB_CONCURRENCY="1",
            SQLAZURECONNSTR_WWIF="Server=nowhere.invalid;UID=u;PWD=p",
            **app["appsettings"],
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        for line in process.stdout:
            if "Listening at" in line:
                break
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=20) as live:
            assert live.status == 200
        process.terminate()
        assert process.wait(timeout=20) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()
