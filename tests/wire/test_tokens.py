"""Access tokens from a real azure-identity call to the TDS login, byte for byte, never in clear."""

from __future__ import annotations

import base64
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from connection_manager import ConnectionManager
from database.connect.tokens import from_environment
from database.errors import DatabaseError, DeadlineExceeded, Kind, Unavailable
from testkit.tds.script import Reply, ServerError
from testkit.tds.server import TdsServer

IDENTITY_HEADER = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"
TLS = "Encrypt=yes;TrustServerCertificate=yes"
LIFETIME = 86_400  # seconds
Manage = Callable[..., ConnectionManager]


class IdentityEndpoint:
    """App Service's managed identity endpoint (protocol 2019-08-01) on loopback.

    Every question gets another token, as long as real ones are; `issued` keeps them.
    """

    def __init__(self) -> None:
        self.issued: list[str] = []
        self.questions: list[dict[str, str]] = []
        self.refuses = False
        numbers = itertools.count(1)
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
                endpoint.questions.append(query)
                trusted = self.headers["X-IDENTITY-HEADER"] == IDENTITY_HEADER
                if endpoint.refuses or not trusted:
                    self.answer(400, {"statusCode": 400, "message": "no identity"})
                    return
                expires = int(time.time()) + LIFETIME
                endpoint.issued.append(jwt(next(numbers), expires))
                self.answer(
                    200,
                    {
                        "access_token": endpoint.issued[-1],
                        "expires_on": str(expires),
                        "resource": query["resource"],
                        "token_type": "Bearer",
                    },
                )

            def answer(self, status: int, body: dict) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._http.server_port}/msi/token"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def jwt(number: int, expires: int) -> str:
    """An unsigned token of 2,000 characters and more, unlike every other."""

    def part(claims: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()

    claims = {"aud": "https://database.windows.net/", "exp": expires, "jti": number}
    return f"{part({'alg': 'none'})}.{part({**claims, 'groups': ['g' * 32] * 45})}.signature"


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    endpoint = IdentityEndpoint()
    # azure-identity reads the process's environment itself
    for name in [name for name in os.environ if name.startswith(("AZURE_", "MSI_", "IDENTITY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("TOKEN", raising=False)
    monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint.address)
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield endpoint
    endpoint.close()


@pytest.fixture
def manage(driver: str, server: TdsServer) -> Iterator[Manage]:
    made: list[ConnectionManager] = []

    def make(*, extra: str = TLS, host: str = "127.0.0.1", **options) -> ConnectionManager:
        text = f"DRIVER={driver};SERVER={host},{server.port};DATABASE=WWIF;{extra}"
        tokens = from_environment(os.environ)
        options = {"deadline_seconds": 10.0, **options}
        made.append(ConnectionManager(text, family="sqlserver", tokens=tokens, **options))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


def test_managed_identity_token_arrives_byte_for_byte_under_tls(
    identity: IdentityEndpoint, server: TdsServer, manage: Manage
):
    assert manage().call("web.get_customer").json
    (token,) = identity.issued
    (login,) = server.logins
    assert len(token) > 2_000
    assert login.token == token.encode("utf-16-le")
    assert login.encrypted
    assert (login.user, login.password) == ("", "")
    assert identity.questions[0]["resource"] == "https://database.windows.net"


def test_a_user_assigned_identity_is_requested_by_its_client_id(
    identity: IdentityEndpoint,
    server: TdsServer,
    manage: Manage,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("AZURE_CLIENT_ID", "00000000-0000-0000-0000-00000000c1d0")
    manage().call("web.get_customer")
    assert identity.questions[0]["client_id"] == "00000000-0000-0000-0000-00000000c1d0"
    assert server.logins[0].token == identity.issued[0].encode("utf-16-le")


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_token_from_the_environment_arrives_without_its_quotes(
    identity: IdentityEndpoint,
    server: TdsServer,
    manage: Manage,
    monkeypatch: pytest.MonkeyPatch,
    quote: str,
):
    token = jwt(7, int(time.time()) + LIFETIME)
    monkeypatch.setenv("TOKEN", f" {quote}{token}{quote}\n")
    manage().call("web.get_customer")
    assert server.logins[0].token == token.encode("utf-16-le")
    assert identity.questions == []


def test_one_token_serves_every_connection(
    identity: IdentityEndpoint, server: TdsServer, manage: Manage
):
    manager = manage()
    for _ in range(3):
        manager.call("web.get_customer")
        server.connections[-1].cut()
    assert len(server.logins) == 3
    assert {login.token for login in server.logins} == {identity.issued[0].encode("utf-16-le")}
    assert len(identity.issued) == 1


def test_rejected_token_is_replaced_once_and_the_call_succeeds(
    identity: IdentityEndpoint, server: TdsServer, manage: Manage
):
    refused = ServerError(18456, "Login failed for user '<token-identified principal>'.", 14)
    server.login_replies.append(Reply(refused))
    assert manage().call("web.get_customer").json
    sent = [login.token.decode("utf-16-le") for login in server.logins]
    assert sent == identity.issued
    assert len(set(sent)) == 2


def test_login_that_is_always_refused_asks_for_two_tokens_and_no_more(
    identity: IdentityEndpoint, server: TdsServer, manage: Manage
):
    server.on_login(lambda _: Reply(ServerError(18456, "Login failed.", 14)))
    with pytest.raises(DatabaseError) as refused:
        manage().call("web.get_customer")
    assert refused.value.kind is Kind.LOGIN_REFUSED
    assert len(server.logins) == len(identity.issued) == 2


def test_no_token_is_unavailable_and_nothing_is_connected(
    identity: IdentityEndpoint, server: TdsServer, manage: Manage
):
    identity.refuses = True
    with pytest.raises(Unavailable) as missing:
        manage().call("web.get_customer")
    assert missing.value.retry_after >= 1
    assert server.connections == []


@pytest.mark.parametrize("encrypt", ["no", "No", "optional", "false"])
@pytest.mark.parametrize(
    "host",
    ["db.example.net", "tcp:db.example.net", "localhost.example.net", "10.0.0.1", "128.0.0.1"],
)
def test_a_token_in_clear_is_refused_before_any_request(
    identity: IdentityEndpoint, server: TdsServer, manage: Manage, host: str, encrypt: str
):
    with pytest.raises(ValueError, match="unencrypted"):
        manage(host=host, extra=f"Encrypt={encrypt}")
    assert identity.questions == []
    assert server.connections == []


def test_token_in_clear_is_allowed_to_loopback(
    identity: IdentityEndpoint, server: TdsServer, manage: Manage
):
    manage(extra="Encrypt=no").call("web.get_customer")
    assert server.logins[0].token == identity.issued[0].encode("utf-16-le")
    assert not server.logins[0].encrypted


def test_encryption_is_the_default_with_a_token(
    identity: IdentityEndpoint, server: TdsServer, manage: Manage
):
    manage(extra="TrustServerCertificate=yes").call("web.get_customer")
    assert server.logins[0].encrypted


def test_server_with_an_untrusted_certificate_gets_no_token(
    identity: IdentityEndpoint, server: TdsServer, manage: Manage
):
    with pytest.raises((DatabaseError, Unavailable, DeadlineExceeded)):
        manage(extra="Encrypt=yes", deadline_seconds=1.0).call("web.get_customer")
    assert server.connections
    assert server.logins == []


@pytest.mark.parametrize("own", ["UID=reader;PWD=secret", "UID=reader;PWD="])
def test_connection_string_that_names_a_user_sends_no_token(
    identity: IdentityEndpoint, server: TdsServer, manage: Manage, own: str
):
    manage(extra=f"{own};{TLS}").call("web.get_customer")
    assert (server.logins[0].user, server.logins[0].token) == ("reader", None)
    assert identity.questions == []
