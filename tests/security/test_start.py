"""A server beyond this machine starts only with AUTH set."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask

from app import close_app, create_app
from authentication.api_keys import digest_of
from authentication.exposure import is_local
from serving.exposure import refusal_to_listen
from settings import ROOT, SettingsError, check_authentication, read_settings
from testkit.callers import api_keys
from testkit.routes import NOWHERE
from testkit.server import bare_environment

SENTENCE = re.compile(
    r"AUTH is not set, and the server would be reachable from beyond this machine \([^)]+\): set"
    r" AUTH=keys, oidc or easyauth, or AUTH=none to open it to all clients\."
)
KEYS, CREDENTIALS = api_keys([("ann", "read")])
EASYAUTH = {"WEBSITE_SITE_NAME": "app", "WEBSITE_AUTH_ENABLED": "True", "AUTH": "easyauth"}
PATH = "/customer/0"


@contextmanager
def application(folder: Path, **environment: str) -> Iterator[Flask]:
    named = {"POSTGRESQLCONNSTR_WWIF": NOWHERE, "LOCAL_DIR": str(folder)}
    app = create_app(read_settings(named | environment))
    yield app
    close_app(app)


@pytest.mark.parametrize(
    "command",
    [
        ("gunicorn", "--bind", "0.0.0.0:0", "app:app"),
        ("gunicorn", "--bind", "127.0.0.1:0", "--bind", "[::]:0", "app:app"),
        ("flask", "run", "--host", "0.0.0.0", "--port", "0"),
    ],
    ids=" ".join,
)
def test_a_server_beyond_loopback_refuses_to_start_in_one_sentence(command, folder: Path):
    finished = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=bare_environment(LOCAL_DIR=str(folder / "local"), LOG_FORMAT="text"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    output = finished.stdout + finished.stderr
    assert finished.returncode != 0
    assert len(SENTENCE.findall(output)) == 1, output
    assert "Traceback" not in output
    assert not (folder / "local" / "postgresql").exists()


def test_a_unix_socket_that_every_account_may_use_is_refused_and_the_default_is_not_one(
    folder: Path,
):
    path = Path(tempfile.mkdtemp()) / "api.sock"  # short: an address has 107 bytes
    command = [sys.executable, "-m", "gunicorn", "--workers", "1", "--bind", f"unix:{path}"]
    options = {
        "cwd": ROOT,
        "env": bare_environment(LOCAL_DIR=str(folder), POSTGRESQLCONNSTR_WWIF=NOWHERE),
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }
    refused = subprocess.run(
        [*command, "--umask", "0", "app:app"], timeout=60, check=False, **options
    )
    assert refused.returncode != 0
    assert (
        f"AUTH is not set, and every account of this machine may use the socket '{path}': start"
        " with --umask 007, or set AUTH."
    ) in refused.stdout.decode()
    with subprocess.Popen([*command, "app:app"], **options) as server:
        try:
            assert answer_over(path, server, PATH) == 404
            assert path.stat().st_mode & 0o777 == 0o755
        finally:
            server.terminate()
            server.communicate(timeout=60)
    shutil.rmtree(path.parent)


def answer_over(path: Path, server: subprocess.Popen, target: str) -> int:
    """The status of a GET over the Unix socket at `path`, as soon as it listens."""
    for line in server.stdout:
        if b"Listening at" in line:
            break
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return int(connection.recv(4096).split()[1])


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        (("::1", 5000, 0, 0), True),
        ("/run/api.sock", True),
        ("", True),
        (b"\x00abstract", False),
        ("0.0.0.0", False),
        ("::", False),
        (("0.0.0.0", 8000), False),
        ("10.0.0.1", False),
        ("192.168.1.5", False),
        ("fe80::1%eth0", False),
        ("api.example.com", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_local_addresses_are_recognized(address, local: bool):
    assert is_local(address) is local


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_auth_none_opens_the_api_to_all_clients(host: str):
    with socket.socket() as bound:
        bound.bind((host, 0))
        listeners = [SimpleNamespace(getsockname=bound.getsockname)]
        assert refusal_to_listen(listeners, read_settings({"AUTH": "none"})) is None
        chosen = read_settings({"AUTH": "keys", "API_KEYS": KEYS})
        assert refusal_to_listen(listeners, chosen) is None
        output = refusal_to_listen(listeners, read_settings({}))
        assert (output is None) == (host == "127.0.0.1")


def test_without_auth_a_remote_client_is_refused_by_any_server(tmp_path: Path):
    with application(tmp_path) as app:
        client = app.test_client()
        assert client.get(PATH).status_code == 404
        refused = client.get(PATH, environ_base={"REMOTE_ADDR": "203.0.113.5"})
        assert refused.status_code == 403
        assert SENTENCE.search(refused.json["detail"])
    with application(tmp_path, AUTH="none") as app:
        found = app.test_client().get(PATH, environ_base={"REMOTE_ADDR": "203.0.113.5"})
        assert found.status_code == 404


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"AUTH": "keys"}, "AUTH=keys needs API_KEYS: flask auth new-key NAME makes an entry."),
        ({"AUTH": "oidc"}, "AUTH=oidc needs OIDC_ISSUER and OIDC_AUDIENCE."),
        ({"AUTH": "oidc", "OIDC_ISSUER": "https://x"}, "AUTH=oidc needs OIDC_ISSUER and"),
        ({"AUTH": "easyauth"}, "AUTH=easyauth works only on App Service"),
        ({**EASYAUTH, "WEBSITE_AUTH_ENABLED": "False"}, "AUTH=easyauth works only on App Service"),
        ({**EASYAUTH, "WEBSITE_SITE_NAME": ""}, "AUTH=easyauth works only on App Service"),
        ({"WEBSITE_SITE_NAME": "app"}, "AUTH is not set, and the server would be reachable"),
    ],
)
def test_an_incomplete_choice_of_auth_stops_the_start(environment: dict[str, str], sentence: str):
    settings = read_settings({"POSTGRESQLCONNSTR_WWIF": NOWHERE, **environment})
    with pytest.raises(SettingsError) as raised:
        check_authentication(settings)
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH", "none,keys"),
        ("AUTH", "kerberos"),
        ("AUTH_ANONYMOUS", "everything"),
        ("AUTH_ROLES", "Editor:edit"),
        ("API_KEYS", "ann:read:secret-not-a-digest"),
        ("API_KEYS", f"{KEYS},{KEYS}"),
        ("OIDC_ISSUER", "http://login.example"),
        ("OIDC_ALGORITHMS", "HS256"),
        ("OIDC_ALGORITHMS", "RS256,none"),
        ("OIDC_JWKS_URL", "file:///etc/keys"),
        ("RATE_LIMIT", "often"),
    ],
)
def test_an_invalid_setting_of_auth_is_refused_without_its_secrets(name: str, value: str):
    with pytest.raises(SettingsError) as raised:
        read_settings({name: value})
    assert " is wrong: it must be " in str(raised.value)
    assert str(raised.value).startswith(name)
    assert "secret" not in str(raised.value)
    assert KEYS not in str(raised.value)


def test_settings_do_not_show_digests():
    settings = read_settings({"API_KEYS": KEYS})
    (key,) = CREDENTIALS["ann"].values()
    assert settings.api_keys[0].digest == digest_of(key)
    assert digest_of(key).hex() not in repr(settings)
    assert repr(digest_of(key)) not in repr(settings)


def test_a_new_key_is_shown_once_and_accepted_by_its_entry(tmp_path: Path):
    finished = subprocess.run(
        [sys.executable, "-m", "flask", "auth", "new-key", "ann", "--groups", "read,write"],
        cwd=ROOT,
        # It is needed before AUTH=keys is complete.
        env=bare_environment(LOCAL_DIR=str(tmp_path / "local"), AUTH="keys"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (key,) = re.findall(r"^X-API-Key: (\S{40,})$", finished.stderr, re.MULTILINE)
    assert key not in finished.stdout
    with application(tmp_path, AUTH="keys", API_KEYS=finished.stdout.strip()) as app:
        client = app.test_client()
        assert client.get(PATH, headers={"X-API-Key": key}).status_code == 404
        assert client.delete(PATH, headers={"X-API-Key": key}).status_code == 404
        assert client.get("/metrics", headers={"X-API-Key": key}).status_code == 403
        assert client.get(PATH).status_code == 401


def test_a_group_can_be_open_without_a_credential(tmp_path: Path):
    environment = {"AUTH": "keys", "API_KEYS": KEYS, "AUTH_ANONYMOUS": "read"}
    with application(tmp_path, **environment) as app:
        client = app.test_client()
        assert client.get(PATH).status_code == 404
        assert client.delete(PATH).status_code == 401
        # A wrong credential is wrong there too.
        assert client.get(PATH, headers={"X-API-Key": "x"}).status_code == 401


def principal(*claims: tuple[str, str], **changed: str) -> str:
    document = {
        "auth_typ": "aad",
        "claims": [{"typ": kind, "val": value} for kind, value in claims],
        "name_typ": "name",
        "role_typ": "roles",
        **changed,
    }
    return base64.b64encode(json.dumps(document).encode()).decode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-MS-CLIENT-PRINCIPAL-ID": "8b1f"}, 401),
        ({"X-MS-CLIENT-PRINCIPAL": "no base64"}, 401),
        ({"X-MS-CLIENT-PRINCIPAL": base64.b64encode(b"[]").decode()}, 401),
        ({"X-MS-CLIENT-PRINCIPAL": principal(("roles", "read"))}, 401),
        ({"X-MS-CLIENT-PRINCIPAL": principal(("sub", "8b1f"))}, 403),
        ({"X-MS-CLIENT-PRINCIPAL": principal(("sub", "8b1f"), ("roles", "read"))}, 404),
        ({"X-MS-CLIENT-PRINCIPAL": principal(("sub", "8b1f"), ("scp", "openid read"))}, 404),
        (
            {
                "X-MS-CLIENT-PRINCIPAL": principal(("groups", "read"), role_typ="groups"),
                "X-MS-CLIENT-PRINCIPAL-ID": "8b1f",
            },
            404,
        ),
    ],
)
def test_on_app_service_the_platforms_headers_identify_the_caller(
    headers, status: int, tmp_path: Path
):
    with application(tmp_path, **EASYAUTH) as app:
        assert app.test_client().get(PATH, headers=headers).status_code == status


WRONG = (7, True, 1e400, [], ["x"], [[]], {}, {"a": []})
GOOD = [{"typ": "sub", "val": "8b1f"}, {"typ": "roles", "val": "read"}]


@pytest.mark.parametrize(
    "changed",
    [
        *({"claims": value} for value in (*WRONG, None, "x")),
        *({"claims": [*GOOD, value]} for value in (*WRONG, None, "x")),
        *({"claims": [*GOOD, {"typ": value, "val": "x"}]} for value in (*WRONG, None)),
        *({"claims": [*GOOD, {"typ": "roles", "val": value}]} for value in (*WRONG, None)),
        *({"auth_typ": value} for value in (*WRONG, None)),
        *({"role_typ": value} for value in WRONG if value),
        *({"name_typ": value} for value in WRONG if value),
    ],
    ids=repr,
)
def test_a_principal_with_a_value_of_another_type_is_refused(changed, tmp_path: Path):
    right = {"auth_typ": "aad", "claims": GOOD, "name_typ": "name", "role_typ": None}
    with application(tmp_path, **EASYAUTH) as app:
        client = app.test_client()
        for document, status in ((right, 404), (right | changed, 401)):
            text = base64.b64encode(json.dumps(document).encode()).decode()
            answer = client.get(PATH, headers={"X-MS-CLIENT-PRINCIPAL": text})
            assert answer.status_code == status
