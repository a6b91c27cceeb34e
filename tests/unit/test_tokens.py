"""Access tokens: their sources, and that they are never shown and never expire under a request."""

import base64
import contextlib
import json
import logging
import math
import os
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from database.connect.access_token import EXPIRY_MARGIN
from database.connect.tokens import (
    AUDIENCE,
    RENEWAL_INTERVAL,
    AccessToken,
    CredentialToken,
    TokenUnavailable,
    from_environment,
    pack,
)
from database.pool import Pool

HOUR = 3600.0


class Clock:
    """A clock that stands still until it is advanced."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


class Credential:
    """A credential in the shape of azure-identity's: it numbers the tokens it issues."""

    def __init__(self, clock, *, lifetime=HOUR):
        self.clock, self.lifetime = clock, lifetime
        self.issued = 0
        self.failure = None
        self.unchanged = False
        self.requests = threading.Semaphore(0)  # released as each request arrives
        self.open = threading.Event()  # cleared: requests hang
        self.open.set()
        self.closed = False

    def get_token(self, scope):
        assert scope == "https://database.windows.net/.default"
        self.requests.release()
        self.open.wait()
        if self.failure:
            raise self.failure
        self.issued += not (self.unchanged and self.issued)
        return SimpleNamespace(
            token=f"token-{self.issued}", expires_on=self.clock() + self.lifetime
        )

    def close(self):
        self.closed = True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def credential(clock):
    return Credential(clock)


@pytest.fixture
def make_source(clock):
    with contextlib.ExitStack() as stack:

        def make(make_credential):
            source = CredentialToken(make_credential, name="a credential", clock=clock)
            stack.callback(source.close)
            return source

        yield make


@pytest.fixture
def source(make_source, credential):
    yield make_source(lambda: credential)
    credential.open.set()


def request_threads():
    return [thread for thread in threading.enumerate() if thread.name == "token-request"]


def settle():
    """Wait until no token is being requested."""
    for thread in request_threads():
        thread.join(10)


def jwt(**claims):
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{payload}.c2ln"


# What the driver gets


def test_a_packed_token_is_its_byte_length_and_utf_16_le():
    assert pack("eyJ") == struct.pack("=i", 6) + b"e\0y\0J\0"
    assert pack("é€") == struct.pack("=i", 4) + b"\xe9\0\xac\x20"


@pytest.mark.parametrize("blank", ["", " ", "\r\n"])
def test_a_blank_token_is_not_packed(blank):
    with pytest.raises(ValueError, match="must not be empty"):
        pack(blank)


# TOKEN


@pytest.mark.parametrize("printed", ['"{}"', "'{}'", ' "{}"\n', "\"'{}'\"", "{}\n"])
def test_quotes_and_blanks_around_token_are_not_part_of_it(printed):
    token = jwt(exp=2_000_000_000)
    assert from_environment({"TOKEN": printed.format(token)}).get().value == token


@pytest.mark.parametrize("exp", [2_000_000_000, 2_000_000_000.5])
def test_the_expiry_and_audience_of_token_are_read_from_the_jwt(exp):
    source = from_environment({"TOKEN": jwt(exp=exp, aud=AUDIENCE)})
    assert source.get().expires_on == exp
    assert source.describe() == {"credential": "TOKEN", "audience": AUDIENCE, "expires_on": exp}


@pytest.mark.parametrize(
    "opaque", ["abc", "a.b", "a.b.c", "a.é.c", jwt(), jwt(exp="soon"), "a.WzFd.c"]
)
def test_a_token_without_an_expiry_is_used_until_the_server_rejects_it(opaque):
    assert from_environment({"TOKEN": opaque}).get() == AccessToken(opaque, None)


def test_the_error_for_an_expired_token_has_its_expiry():
    source = from_environment({"TOKEN": jwt(exp=1_548_941_655)})
    with pytest.raises(TokenUnavailable, match=r"TOKEN expired 2019-01-31T13:34:15\+00:00"):
        source.get()


@pytest.mark.parametrize("wrong", ['{"accessToken": "abc"}', "Bearer abc", "two\nlines"])
def test_a_malformed_token_is_refused_without_showing_it(wrong):
    with pytest.raises(ValueError, match="TOKEN must be one access token") as refusal:
        from_environment({"TOKEN": wrong})
    assert wrong not in str(refusal.value)


def test_a_static_token_needs_no_thread_and_no_renewal():
    source = from_environment({"TOKEN": "abc"})
    token = source.get()
    source.reject(token)
    assert source.get() is token
    assert not request_threads()
    source.close()


@pytest.mark.parametrize("unset", [{}, {"TOKEN": ""}, {"TOKEN": ' "" '}])
def test_without_a_token_the_default_credential_is_used(unset):
    expected = {"credential": "DefaultAzureCredential", "audience": AUDIENCE, "expires_on": None}
    assert from_environment(unset).describe() == expected


def test_azure_identity_is_imported_only_when_a_token_is_requested():
    program = (
        "import sys; from database.connect.tokens import from_environment\n"
        "from_environment({}).describe(); from_environment({'TOKEN': 'abc'}).get()\n"
        "sys.exit('azure' in sys.modules)"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0


# Managed identity, from App Service's endpoint


class IdentityEndpoint(ThreadingHTTPServer):
    """App Service's token endpoint on loopback, in both versions of its protocol.

    It answers a request without its secret with 401, and numbers the tokens it issues.
    """

    secret = "the-identity-header"

    def __init__(self):
        super().__init__(("127.0.0.1", 0), IdentityRequest)
        self.queries = []
        self.tokens = []
        self.expires_on = str(int(time.time()) + 86_400)
        self.url = f"http://127.0.0.1:{self.server_port}/msi/token"


class IdentityRequest(BaseHTTPRequestHandler):
    def do_GET(self):
        endpoint, query = self.server, parse_qs(urlsplit(self.path).query)
        endpoint.queries.append({key: value for key, (value,) in query.items()})
        header = {"2019-08-01": "X-IDENTITY-HEADER", "2017-09-01": "secret"}
        if self.headers.get(header[query["api-version"][0]]) != endpoint.secret:
            self.answer(401, {"statusCode": 401, "message": "wrong secret"})
            return
        endpoint.tokens.append(jwt(number=len(endpoint.tokens)))
        token, expires_on = endpoint.tokens[-1], endpoint.expires_on
        self.answer(200, {"access_token": token, "expires_on": expires_on, "token_type": "Bearer"})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_", "IMDS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with IdentityEndpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def app_service(endpoint, monkeypatch):
    """A token source for App Service's environment, by protocol version."""
    with contextlib.ExitStack() as stack:

        def make(version, *, secret=endpoint.secret, server="", **more):
            address, key = {
                "2019-08-01": ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"),
                "2017-09-01": ("MSI_ENDPOINT", "MSI_SECRET"),
            }[version]
            environ = {address: endpoint.url, key: secret} | more
            for name, value in environ.items():
                monkeypatch.setenv(name, value)
            source = from_environment(os.environ, server=server)
            stack.callback(source.close)
            return source

        yield make


VERSIONS = pytest.mark.parametrize("version", ["2019-08-01", "2017-09-01"])


@VERSIONS
def test_app_service_token_arrives_complete_with_its_expiry(version, endpoint, app_service):
    token = app_service(version).get()
    assert [token.value] == endpoint.tokens
    assert token.expires_on == pytest.approx(int(endpoint.expires_on), abs=2)
    (query,) = endpoint.queries
    assert query["api-version"] == version
    assert query["resource"].rstrip("/") == AUDIENCE.rstrip("/")
    assert not {"client_id", "clientid"} & set(query)


@VERSIONS
def test_azure_client_id_selects_the_user_assigned_identity(version, endpoint, app_service):
    app_service(version, AZURE_CLIENT_ID="1234").get()
    (query,) = endpoint.queries
    parameter = {"2019-08-01": "client_id", "2017-09-01": "clientid"}[version]
    assert query[parameter] == "1234"


@VERSIONS
def test_a_refusal_by_the_endpoint_keeps_its_cause_and_no_secret(version, app_service):
    source = app_service(version, secret="another-secret")
    with pytest.raises(TokenUnavailable, match="gave no access token for https://data") as failure:
        source.get()
    assert failure.value.__cause__ is not None
    assert "secret" not in str(failure.value)


@VERSIONS
def test_a_rejected_token_is_requested_again_past_the_credentials_cache(
    version, endpoint, app_service
):
    source = app_service(version)
    first = source.get()
    source.reject(first)
    assert [first.value, source.get().value] == endpoint.tokens
    assert len(endpoint.tokens) == 2


@VERSIONS
@pytest.mark.parametrize(
    ("server", "audience"),
    [
        ("tcp:Shop.Database.Windows.NET,1433", AUDIENCE),
        ("trips-ondemand.sql.azuresynapse.net", AUDIENCE),
        ("tcp:shop.database.chinacloudapi.cn,1433", "https://database.chinacloudapi.cn/"),
        ("trips-ondemand.sql.azuresynapse.azure.cn", "https://database.chinacloudapi.cn/"),
        ("shop.database.usgovcloudapi.net.", "https://database.usgovcloudapi.net/"),
        ("a.sql.azuresynapse.usgovcloudapi.net", "https://database.usgovcloudapi.net/"),
        ("database.usgovcloudapi.net.example.org", AUDIENCE),
        ("10.0.0.4", AUDIENCE),
    ],
)
def test_the_servers_suffix_chooses_the_tokens_audience(
    version, server, audience, endpoint, app_service
):
    source = app_service(version, server=server)
    source.get()
    (query,) = endpoint.queries
    assert query["resource"].rstrip("/") == audience.rstrip("/")
    assert source.describe()["audience"] == audience


def test_the_newer_protocol_is_used_where_both_are_offered(endpoint, app_service):
    app_service("2019-08-01", MSI_ENDPOINT=endpoint.url, MSI_SECRET=endpoint.secret).get()
    assert [query["api-version"] for query in endpoint.queries] == ["2019-08-01"]


def test_the_description_names_the_credential_that_answered(app_service):
    source = app_service("2019-08-01")
    token = source.get()
    described = source.describe()
    assert described["credential"] == "DefaultAzureCredential (ManagedIdentityCredential)"
    assert described["expires_on"] == token.expires_on


@pytest.mark.parametrize(
    "written", ["1917341999", "10/04/2030 14:39:59 +00:00", "10/4/2030 2:39:59 PM +00:00"]
)
def test_the_older_protocols_expiry_is_read_in_all_its_formats(written, endpoint, app_service):
    endpoint.expires_on = written
    assert app_service("2017-09-01").get().expires_on == 1_917_355_199 - (
        13_200 if written.isdecimal() else 0
    )


def test_an_expiry_in_an_unknown_format_is_a_failure(endpoint, app_service):
    endpoint.expires_on = "next week"
    with pytest.raises(TokenUnavailable) as failure:
        app_service("2017-09-01").get()
    assert "unknown format" in str(failure.value.__cause__)


def test_the_older_protocols_secret_goes_through_no_proxy(app_service, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert app_service("2017-09-01").get().value


def test_an_msi_endpoint_without_http_is_refused():
    with pytest.raises(ValueError, match="MSI_ENDPOINT must be"):
        from_environment({"MSI_ENDPOINT": "file:///etc/passwd", "MSI_SECRET": "s"})


@VERSIONS
def test_neither_token_nor_secret_is_ever_logged_or_shown(version, app_service, endpoint, caplog):
    caplog.set_level(logging.DEBUG)
    source = app_service(version)
    token = source.get()
    source.reject(token)
    again = source.get()
    source.close()
    shown = [caplog.text, repr(token), str(again), f"{source!r}", str(source.describe())]
    for secret in (*endpoint.tokens, endpoint.secret):
        assert not [text for text in shown if secret in text]
    assert "access token renewed" in caplog.text


# Kept fresh


def test_sixty_four_threads_share_one_request(source, credential):
    credential.open.clear()
    with ThreadPoolExecutor(64) as threads:
        answers = [threads.submit(source.get) for _ in range(64)]
        credential.requests.acquire()
        credential.open.set()
        tokens = {answer.result().value for answer in answers}
    assert tokens == {"token-1"}
    assert credential.issued == 1


def test_a_thousand_expiries_under_load_fail_no_get_and_cost_one_request_each(
    clock, source, credential
):
    workers, failures = 16, []
    start, end = threading.Barrier(workers + 1), threading.Barrier(workers + 1)
    running = True

    def work():
        while True:
            start.wait()
            if not running:
                return
            before = clock()
            try:
                token = source.get(timeout=10)
                if not token.valid_at(before):
                    failures.append(token)
            except Exception as failure:
                failures.append(failure)
            end.wait()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    source.get()
    for expiry in range(1, 1001):
        # In turn: all at once after the expiry, and in the second half of the lifetime.
        clock.advance(HOUR if expiry % 2 else HOUR - 200)
        start.wait()
        end.wait()
        settle()
        assert credential.issued == expiry + 1
    running = False
    start.wait()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_token_is_served_without_a_request_for_half_of_its_lifetime(clock, source, credential):
    token = source.get()
    clock.advance(HOUR / 2 - 1)
    assert source.get(timeout=0) is token
    settle()
    assert credential.issued == 1


def test_the_valid_token_is_served_while_its_successor_is_requested(clock, source, credential):
    old = source.get()
    credential.requests.acquire()
    credential.open.clear()
    clock.advance(HOUR / 2)
    assert source.get(timeout=0) is old
    credential.requests.acquire()
    assert source.get(timeout=0) is old
    credential.open.set()
    settle()
    assert source.get(timeout=0).value == "token-2"
    assert credential.issued == 2


def test_failed_renewals_are_repeated_at_intervals_while_the_token_is_valid(
    clock, source, credential, caplog
):
    old = source.get()
    credential.requests.acquire()
    credential.failure = OSError("endpoint away, token-1")
    clock.advance(HOUR / 2)
    for _ in range(5):
        for _ in range(3):
            assert source.get(timeout=0) is old
            settle()
        assert credential.requests.acquire(blocking=False)
        assert not credential.requests.acquire(blocking=False), "one request an interval"
        clock.advance(RENEWAL_INTERVAL)
    credential.failure = None
    assert source.get(timeout=0) is old
    settle()
    assert source.get(timeout=0).value == "token-2"
    assert "no access token from Credential (OSError)" in caplog.text
    assert "token-1" not in caplog.text


def test_no_token_is_served_past_its_expiry_and_then_the_failure_is_raised(
    clock, source, credential
):
    source.get()
    credential.failure = OSError("endpoint away")
    clock.advance(HOUR)
    with pytest.raises(TokenUnavailable, match=r"no access token .* \(OSError\)") as failure:
        source.get()
    assert failure.value.__cause__ is credential.failure
    credential.failure = None
    assert source.get().value == "token-2"


def test_an_unchanged_token_is_no_failure_and_its_successor_is_requested_later(
    clock, source, credential
):
    old = source.get()
    credential.requests.acquire()
    credential.unchanged = True
    clock.advance(HOUR / 2)
    assert source.get() is old
    settle()
    assert source.get() is old
    credential.unchanged = False
    clock.advance(RENEWAL_INTERVAL)
    source.get()
    settle()
    assert source.get().value == "token-2"
    assert credential.requests.acquire(blocking=False)


def test_a_credential_that_answers_with_an_expired_token_is_a_failure(make_source, clock):
    credential = Credential(clock, lifetime=-1)
    with pytest.raises(TokenUnavailable) as failure:
        make_source(lambda: credential).get()
    assert "expired token" in str(failure.value.__cause__)


def test_a_credential_that_cannot_be_created_is_a_failure(make_source):
    def missing():
        raise ImportError("no azure-identity here")

    with pytest.raises(TokenUnavailable, match="ImportError"):
        make_source(missing).get()


def test_a_get_ends_with_its_timeout_and_the_request_continues(source, credential):
    credential.open.clear()
    with pytest.raises(TokenUnavailable, match=r"within 0\.05 s"):
        source.get(timeout=0.05)
    credential.open.set()
    assert source.get().value == "token-1"
    assert credential.issued == 1


def test_each_request_is_reported_with_its_failure(source, credential):
    reported = []
    source.on_attempt(reported.append)
    credential.failure = OSError("endpoint away")
    with pytest.raises(TokenUnavailable):
        source.get()
    credential.failure = None
    source.get()
    assert [type(failure) for failure in reported] == [OSError, type(None)]


def test_a_failing_listener_stops_neither_the_request_nor_other_listeners(source, caplog):
    reported = []

    def broken(failure):
        raise RuntimeError("listener")

    source.on_attempt(broken)
    source.on_attempt(reported.append)
    assert source.get().value == "token-1"
    assert reported == [None]
    assert "a listener to token requests failed" in caplog.text


# A connection ends before its token


@pytest.mark.parametrize(
    ("left", "lifetime"),
    [(HOUR, HOUR - EXPIRY_MARGIN), (EXPIRY_MARGIN, 0.0), (1.0, 0.0)],
)
def test_a_connection_may_be_used_until_a_margin_before_its_token_expires(left, lifetime):
    assert AccessToken("t", 1000.0 + left).connection_lifetime(1000.0) == lifetime


def test_a_token_without_expiry_does_not_limit_its_connections():
    assert AccessToken("t").connection_lifetime(1000.0) == math.inf


def test_no_pooled_connection_is_checked_out_with_an_expired_token(clock, source):
    """Ten hours of one checkout a minute, on tokens that live for one."""
    with_tokens = []

    def connect(remaining):
        with_tokens.append(SimpleNamespace(token=source.get()))
        return with_tokens[-1]

    pool = Pool(
        connect,
        close=lambda connection: None,
        lifetime=lambda connection: connection.token.connection_lifetime(clock()),
        max_lifetime=math.inf,
        max_idle=math.inf,
        clock=clock,
        housekeeper=False,
    )
    for _ in range(600):
        with pool.checkout() as lease:
            assert lease.connection.token.expires_on - clock() >= EXPIRY_MARGIN - 1
        clock.advance(60)
        settle()
    assert pool.close()
    assert 10 <= len(with_tokens) <= 22


# Rejected by the server


def test_a_rejected_token_is_requested_again_once(source, credential):
    credential.unchanged = True
    token = source.get()
    credential.requests.acquire()
    source.reject(token)
    again = source.get()
    assert again.value == token.value
    assert credential.requests.acquire(blocking=False)
    assert credential.requests.acquire(blocking=False), "past the credential's cache"
    source.reject(again)
    assert source.get() is again
    assert not credential.requests.acquire(blocking=False)


def test_many_rejections_of_one_token_cost_one_request(source, credential):
    token = source.get()
    with ThreadPoolExecutor(32) as threads:
        for _ in range(32):
            threads.submit(source.reject, token)
    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(lambda _: source.get().value, range(32)))
    assert set(answers) == {"token-2"}
    assert credential.issued == 2


def test_the_rejection_of_an_older_token_changes_nothing(clock, source, credential):
    old = source.get()
    clock.advance(HOUR)
    new = source.get()
    source.reject(old)
    assert source.get() is new
    assert credential.issued == 2


def test_a_token_rejected_while_its_successor_is_requested_is_not_served_again(clock, make_source):
    made = []

    def make_credential():
        # The first one keeps answering from its cache; the second one has nothing cached.
        made.append(Credential(clock))
        made[-1].unchanged = len(made) == 1
        made[-1].issued = len(made) - 1
        return made[-1]

    source = make_source(make_credential)
    old = source.get()
    first = made[0]
    first.requests.acquire()
    first.open.clear()
    clock.advance(HOUR / 2)
    source.get()
    first.requests.acquire()
    source.reject(old)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(source.get)
        first.open.set()
        assert answer.result().value != old.value
    assert first.closed


# Close and fork


def test_close_closes_the_credential_and_leaves_no_thread(source, credential):
    source.get()
    source.close()
    source.close()
    settle()
    assert not request_threads()
    assert credential.closed
    with pytest.raises(TokenUnavailable, match="closed"):
        source.get()


def test_close_fails_the_threads_that_wait_for_a_token(source, credential):
    credential.open.clear()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(source.get)
        credential.requests.acquire()
        source.close()
        with pytest.raises(TokenUnavailable, match="closed"):
            answer.result(timeout=10)
    credential.open.set()
    settle()
    assert credential.closed


def in_a_forked_child(function):
    """The short text that `function` returns in a forked child of this process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, function().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@forks
def test_a_forked_child_keeps_the_token_and_renews_it_with_a_credential_of_its_own(
    clock, make_source
):
    made = []

    def make_credential():
        made.append(Credential(clock))
        made[-1].issued = len(made) - 1
        return made[-1]

    source = make_source(make_credential)
    source.get()

    def child():
        kept = source.get(timeout=0).value
        clock.advance(HOUR)
        return f"{kept} {source.get(timeout=10).value}"

    assert in_a_forked_child(child) == "token-1 token-2"
    assert made[0].issued == 1


@forks
def test_a_fork_during_a_request_with_the_lock_held_leaves_the_child_free(source, credential):
    parent = os.getpid()
    in_request = threading.Event()
    get_token = credential.get_token

    def hang_in_the_parent(scope):
        if os.getpid() == parent:
            in_request.set()
            credential.open.wait()
        else:
            credential.open.set()
        return get_token(scope)

    credential.get_token = hang_in_the_parent
    credential.open.clear()
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(source.get)
        in_request.wait()
        with source._lock:
            assert in_a_forked_child(lambda: source.get(timeout=10).value) == "token-1"
        credential.open.set()
        assert answer.result().value == "token-1"
