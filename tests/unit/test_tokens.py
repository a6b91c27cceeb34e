"""Access tokens: where they come from, that they never run out, that they are never shown."""

import base64
import contextlib
import json
import logging
import os
import queue
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from database.connect.tokens import (
    AUDIENCE,
    AccessToken,
    CredentialToken,
    TokenUnavailable,
    from_environment,
    pack,
)

HOUR = 3600.0


class Clock:
    """A clock that stands still; who waits on it wakes when it is advanced, never by itself."""

    def __init__(self):
        self.now = 1_800_000_000.0
        self.pauses = queue.Queue()  # how long each wait meant to take, in seconds
        self._waiting = set()

    def __call__(self):
        return self.now

    def wait(self, condition, seconds):
        self._waiting.add(condition)
        self.pauses.put(seconds)
        condition.wait()

    def advance(self, seconds):
        self.now += seconds
        for condition in list(self._waiting):
            with condition:
                condition.notify_all()


class Credential:
    """A credential in the shape of azure-identity's: it numbers the tokens it issues."""

    def __init__(self, clock, *, lifetime=HOUR):
        self.clock, self.lifetime = clock, lifetime
        self.issued = 0
        self.failure = None
        self.unchanged = False
        self.asked = threading.Semaphore(0)  # released as each request comes in
        self.open = threading.Event()  # cleared: requests hang
        self.open.set()
        self.closed = False

    def get_token(self, scope):
        assert scope == "https://database.windows.net/.default"
        self.asked.release()
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

        def make(make_credential, **options):
            options = {"clock": clock, "wait": clock.wait, "jitter": lambda: 0.0} | options
            source = CredentialToken(make_credential, name="a credential", **options)
            stack.callback(source.close)
            return source

        yield make


@pytest.fixture
def source(make_source, credential):
    yield make_source(lambda: credential)
    credential.open.set()


@pytest.fixture
def renewals(source):
    """The generations of renewed tokens, as they are announced."""
    announced = queue.Queue()
    source.on_refresh(announced.put)
    return announced


def refreshing_threads():
    return [thread for thread in threading.enumerate() if thread.name == "token-refresh"]


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
def test_a_token_that_tells_no_expiry_is_used_until_the_server_refuses(opaque):
    assert from_environment({"TOKEN": opaque}).get() == AccessToken(opaque, None)


def test_an_expired_token_is_said_to_be_expired():
    source = from_environment({"TOKEN": jwt(exp=1_548_941_655)})
    with pytest.raises(TokenUnavailable, match=r"TOKEN expired 2019-01-31T13:34:15\+00:00"):
        source.get()


@pytest.mark.parametrize("wrong", ['{"accessToken": "abc"}', "Bearer abc", "two\nlines"])
def test_what_cannot_be_one_token_is_refused_without_showing_it(wrong):
    with pytest.raises(ValueError, match="TOKEN must be one access token") as refusal:
        from_environment({"TOKEN": wrong})
    assert wrong not in str(refusal.value)


def test_a_static_token_needs_no_thread_and_no_renewal():
    source = from_environment({"TOKEN": "abc"})
    token = source.get()
    source.reject(token)
    assert source.get() is token
    assert not refreshing_threads()
    source.close()


@pytest.mark.parametrize("unset", [{}, {"TOKEN": ""}, {"TOKEN": ' "" '}])
def test_without_a_token_the_default_credential_is_used(unset):
    expected = {"credential": "DefaultAzureCredential", "audience": AUDIENCE, "expires_on": None}
    assert from_environment(unset).describe() == expected


def test_azure_identity_is_imported_only_when_a_token_is_asked_for():
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
    """A token source as App Service's environment asks for it, by protocol version."""
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
def test_app_service_token_arrives_whole_with_its_expiry(version, endpoint, app_service):
    token = app_service(version).get()
    assert [token.value] == endpoint.tokens
    assert token.expires_on == pytest.approx(int(endpoint.expires_on), abs=2)
    (query,) = endpoint.queries
    assert query["api-version"] == version
    assert query["resource"].rstrip("/") == AUDIENCE.rstrip("/")
    assert not {"client_id", "clientid"} & set(query)


@VERSIONS
def test_azure_client_id_picks_the_user_assigned_identity(version, endpoint, app_service):
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
def test_a_rejected_token_is_fetched_again_past_the_credentials_own_cache(
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
def test_the_older_protocols_expiry_is_read_in_all_its_forms(written, endpoint, app_service):
    endpoint.expires_on = written
    assert app_service("2017-09-01").get().expires_on == 1_917_355_199 - (
        13_200 if written.isdecimal() else 0
    )


def test_an_expiry_in_an_unknown_form_is_no_token(endpoint, app_service):
    endpoint.expires_on = "next week"
    with pytest.raises(TokenUnavailable) as failure:
        app_service("2017-09-01").get()
    assert "unknown form" in str(failure.value.__cause__)


def test_the_older_protocols_secret_goes_through_no_proxy(app_service, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert app_service("2017-09-01").get().generation == 1


def test_an_msi_endpoint_that_is_no_http_address_is_refused():
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


def test_sixty_four_threads_share_one_fetch(source, credential):
    credential.open.clear()
    with ThreadPoolExecutor(64) as threads:
        answers = [threads.submit(source.get) for _ in range(64)]
        credential.asked.acquire()
        credential.open.set()
        tokens = {answer.result().value for answer in answers}
    assert tokens == {"token-1"}
    assert credential.issued == 1


def test_a_thousand_expiries_under_load_fail_nobody_and_fetch_once_each(
    clock, source, credential, renewals
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
        # In turn: all at once after the expiry, and within the margin before it
        clock.advance(HOUR if expiry % 2 else HOUR - 200)
        start.wait()
        end.wait()
        assert renewals.get(timeout=10) == expiry + 1
        assert credential.issued == expiry + 1
    running = False
    start.wait()
    for thread in threads:
        thread.join()
    assert failures == []
    assert credential.issued == source.generation == 1001


@pytest.mark.parametrize(
    ("lifetime", "jitter", "pause"),
    [(3600, 0.0, 3300), (3600, 1.0, 3360), (86_400, 0.0, 86_100), (100, 0.0, 80), (100, 1.0, 84)],
)
def test_renewal_is_due_a_jittered_margin_before_expiry(
    clock, make_source, lifetime, jitter, pause
):
    credential = Credential(clock, lifetime=lifetime)
    make_source(lambda: credential, jitter=lambda: jitter).get()
    assert clock.pauses.get(timeout=10) == pytest.approx(pause)


def test_a_token_is_renewed_in_the_background_while_nobody_asks(make_source):
    credential = Credential(time.time, lifetime=0.5)
    source = make_source(lambda: credential, clock=time.time, wait=threading.Condition.wait)
    renewed = queue.Queue()
    source.on_refresh(renewed.put)
    source.get()
    assert [renewed.get(timeout=10) for _ in range(3)] == [2, 3, 4]


def test_the_valid_token_is_given_out_while_its_successor_is_fetched(
    clock, source, credential, renewals
):
    old = source.get()
    credential.asked.acquire()
    credential.open.clear()
    clock.advance(HOUR - 200)
    credential.asked.acquire()
    assert source.get(timeout=0) is old
    credential.open.set()
    assert renewals.get(timeout=10) == 2
    assert source.get().generation == 2


def test_a_wait_that_overslept_is_ended_by_the_next_caller(clock, source, credential, renewals):
    source.get()
    clock.pauses.get(timeout=10)
    clock.now += HOUR - 200  # nobody wakes
    source.get()
    assert renewals.get(timeout=10) == 2


def test_failed_renewals_are_repeated_ever_more_slowly_while_the_token_is_valid(
    clock, source, credential, renewals, caplog
):
    old = source.get()
    assert clock.pauses.get(timeout=10) == 3300
    credential.failure = OSError("endpoint away, token-1")
    clock.advance(3300)
    for pause in (1, 2, 4, 8, 16, 30):
        assert clock.pauses.get(timeout=10) == pause
        assert source.get(timeout=0) is old
        clock.advance(pause)
    assert clock.pauses.get(timeout=10) == 30
    credential.failure = None
    clock.advance(30)
    assert renewals.get(timeout=10) == 2
    assert clock.pauses.get(timeout=10) == 3300
    credential.failure = OSError("endpoint away again")
    clock.advance(3300)
    assert clock.pauses.get(timeout=10) == 1
    assert "no access token from Credential (OSError)" in caplog.text
    assert "token-1" not in caplog.text


def test_no_token_is_given_out_past_its_expiry_and_then_the_failure_is_told(clock, make_source):
    credential = Credential(clock, lifetime=100)
    source = make_source(lambda: credential)
    source.get()
    credential.failure = OSError("endpoint away")
    # The last pause ends with the token, not after it; then the thread waits to be asked.
    for pause in (80, 1, 2, 4, 8, 5):
        assert clock.pauses.get(timeout=10) == pytest.approx(pause)
        clock.advance(pause)
    assert clock.pauses.get(timeout=10) is None
    with pytest.raises(TokenUnavailable, match=r"no access token .* \(OSError\)") as failure:
        source.get()
    assert failure.value.__cause__ is credential.failure
    credential.failure = None
    assert source.get().generation == 2


def test_an_unchanged_token_is_no_renewal_and_is_asked_for_again(clock, source, credential):
    old = source.get()
    assert clock.pauses.get(timeout=10) == 3300
    credential.unchanged = True
    clock.advance(3300)
    assert clock.pauses.get(timeout=10) == 1
    assert source.get() is old
    assert source.generation == 1


def test_a_token_that_expires_before_its_waiter_wakes_is_fetched_again(clock, make_source):
    credential = Credential(clock)

    def jitter():
        # Asked for when a token has just come in
        if source.generation == 1:
            clock.now += HOUR
            credential.open.clear()
        return 0.0

    source = make_source(lambda: credential, jitter=jitter)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(source.get)
        done, _ = wait([answer], timeout=0.1)
        credential.open.set()
        assert not done
        assert answer.result().generation == 2


def test_a_credential_that_answers_with_an_expired_token_gives_none(make_source, clock):
    credential = Credential(clock, lifetime=-1)
    with pytest.raises(TokenUnavailable) as failure:
        make_source(lambda: credential).get()
    assert "expired token" in str(failure.value.__cause__)


def test_a_credential_that_cannot_be_made_is_a_failure_like_any_other(make_source):
    def missing():
        raise ImportError("no azure-identity here")

    with pytest.raises(TokenUnavailable, match="ImportError"):
        make_source(missing).get()


def test_nobody_waits_longer_than_asked_and_the_fetch_goes_on(source, credential):
    credential.open.clear()
    with pytest.raises(TokenUnavailable, match=r"within 0\.05 s"):
        source.get(timeout=0.05)
    credential.open.set()
    assert source.get().generation == 1
    assert credential.issued == 1


def test_the_first_token_replaces_none_and_is_not_announced(clock, source, renewals):
    source.get()
    clock.pauses.get(timeout=10)
    assert renewals.empty()


def test_a_failing_listener_stops_neither_renewal_nor_other_listeners(
    clock, source, credential, caplog
):
    def broken(generation):
        raise RuntimeError("listener")

    announced = queue.Queue()
    source.on_refresh(broken)
    source.on_refresh(announced.put)
    source.get()
    clock.advance(HOUR)
    assert announced.get(timeout=10) == 2
    assert "listener" in caplog.text


def test_a_margin_of_no_time_is_refused(credential):
    with pytest.raises(ValueError, match="margin"):
        CredentialToken(lambda: credential, name="a credential", margin=0)


# Rejected by the server


def test_a_rejected_token_is_fetched_anew_once(clock, source, credential):
    credential.unchanged = True
    token = source.get()
    credential.asked.acquire()
    source.reject(token)
    again = source.get()
    assert again.value == token.value
    assert credential.asked.acquire(blocking=False)
    source.reject(again)
    assert source.get() is again
    assert not credential.asked.acquire(blocking=False)


def test_many_rejections_of_one_token_cost_one_fetch(source, credential):
    token = source.get()
    with ThreadPoolExecutor(32) as threads:
        for _ in range(32):
            threads.submit(source.reject, token)
    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(lambda _: source.get().generation, range(32)))
    assert set(answers) == {2}
    assert credential.issued == 2


def test_the_rejection_of_an_older_token_changes_nothing(clock, source, credential, renewals):
    old = source.get()
    clock.advance(HOUR)
    new = source.get()
    source.reject(old)
    assert source.get() is new
    assert credential.issued == 2


def test_a_token_rejected_while_it_is_being_fetched_again_is_not_given_out(clock, make_source):
    made = []

    def make_credential():
        # The first keeps answering from its cache; the second has nothing in its own
        made.append(Credential(clock))
        made[-1].unchanged = len(made) == 1
        made[-1].issued = len(made) - 1
        return made[-1]

    source = make_source(make_credential)
    old = source.get()
    first = made[0]
    first.asked.acquire()
    first.open.clear()
    clock.advance(HOUR - 200)
    first.asked.acquire()
    source.reject(old)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(source.get)
        first.open.set()
        assert answer.result().value != old.value
    assert first.closed


# Ends and forks


def test_close_ends_the_thread_and_closes_the_credential(source, credential):
    source.get()
    assert len(refreshing_threads()) == 1
    source.close()
    source.close()
    assert not refreshing_threads()
    assert credential.closed
    with pytest.raises(TokenUnavailable, match="closed"):
        source.get()


def test_close_releases_who_waits_for_a_token(source, credential):
    credential.open.clear()
    with ThreadPoolExecutor(2) as threads:
        answer = threads.submit(source.get)
        credential.asked.acquire()
        closing = threads.submit(source.close)
        with pytest.raises(TokenUnavailable, match="closed"):
            answer.result(timeout=10)
        credential.open.set()
        closing.result(timeout=10)
    assert not refreshing_threads()


def test_fifty_sources_leave_no_thread(make_source, clock):
    before = threading.active_count()
    for _ in range(50):
        source = make_source(lambda: Credential(clock))
        source.get()
        source.close()
    assert threading.active_count() == before


def in_a_forked_child(function):
    """What `function` returns, a short text, in a forked child of this process."""
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
def test_a_forked_child_keeps_the_token_and_renews_it_itself(clock, source, credential):
    source.get()

    def child():
        kept = source.get(timeout=0).value
        clock.advance(HOUR)
        return f"{kept} {source.get(timeout=10).value}"

    assert in_a_forked_child(child) == "token-1 token-2"
    assert credential.issued == 1
    assert len(refreshing_threads()) == 1


@forks
def test_a_fork_in_the_middle_of_a_refresh_leaves_the_child_free(clock, make_source):
    parent = os.getpid()
    inside, leave = threading.Event(), threading.Event()

    def jitter():
        # Asked for while the lock is held: the child's copy is held by nobody
        if os.getpid() == parent:
            inside.set()
            leave.wait()
        return 0.0

    source = make_source(lambda: Credential(clock), jitter=jitter)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(source.get)
        inside.wait()
        assert in_a_forked_child(lambda: source.get(timeout=10).value) == "token-1"
        leave.set()
        assert answer.result().value == "token-1"
