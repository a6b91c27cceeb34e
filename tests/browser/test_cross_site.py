"""Pages of other sites can't use a browser to reach an API without AUTH.

In Chromium, which resolves every name of example sites to this machine.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.support import expected_conditions as met
from selenium.webdriver.support.wait import WebDriverWait

from testkit.api_client import Api, unique_name
from testkit.browser import opened_browser
from testkit.server import Server
from tests.browser.test_pages import PATIENCE_SECONDS

STRANGER, FRIEND, REBOUND = "evil.example", "friend.example", "rebound.example"
FORM = """<form method="post" action="{action}"><input name="customer"></form>
<script>
const form = document.forms[0];
form.customer.value = decodeURIComponent(location.hash.slice(1));
form.submit();
</script>"""
FETCH = """
const [url, options, done] = arguments;
fetch(url, options).then(
    async answer => done([answer.status, answer.type, await answer.text()]),
    error => done([0, '', '' + error])
);
"""


@dataclass(frozen=True)
class World:
    """api: the server's port; pages: the port of the other sites, whose every page is FORM."""

    server: Server
    pages: int

    @property
    def port(self) -> int:
        return urlsplit(self.server.url).port


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        action = self.path.partition("?")[2]
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(FORM.format(action=action).encode() if action else b"<p>Hello</p>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def world(run_folder, worker_id) -> Iterator[World]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        friend = f"http://{FRIEND}:{pages.server_port}"
        with Server(run_folder / f"cross-site-{worker_id}", CORS_ORIGINS=friend) as server:
            yield World(server, pages.server_port)
        pages.shutdown()


@pytest.fixture
def api(world):
    with Api(world.server.url) as client:
        yield client


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chromium")
    with opened_browser(folder, "--host-resolver-rules=MAP *.example 127.0.0.1") as opened:
        yield opened


def fetched(browser, url: str, **options: object) -> list:
    """[status, type, text] as the page that is open gets them; status 0 where it gets none."""
    return browser.execute_async_script(FETCH, url, options)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_form_on_another_site_makes_no_row(host: str, world, browser, api):
    name = unique_name()
    action = f"http://{host}:{world.port}/customer"
    row = json.dumps({"CustomerName": name})
    browser.get(f"http://{STRANGER}:{world.pages}/?{action}#{row}")
    WebDriverWait(browser, PATIENCE_SECONDS).until(met.url_to_be(action))
    assert "urn:sql-procedures-api:forbidden" in browser.page_source
    assert api.named(name) == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_script_of_another_site_makes_no_row_and_reads_nothing(host: str, world, browser, api):
    name = unique_name()
    here = f"http://{host}:{world.port}"
    browser.get(f"http://{STRANGER}:{world.pages}/")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    row = "customer=" + json.dumps({"CustomerName": name})
    # Sent without a preflight; the script is not shown the answer.
    options = {"method": "POST", "mode": "no-cors", "headers": form, "body": row}
    assert fetched(browser, f"{here}/customer", **options)[1] in ("opaque", "")
    assert fetched(browser, f"{here}/customer/123")[0] == 0
    assert api.named(name) == []


def test_a_name_that_is_made_to_resolve_to_this_machine_deletes_and_reads_nothing(
    world, browser, api
):
    path = f"/customer/{api.new_customer()['CustomerID']}"
    # To the browser this page and the API are one site, as after DNS rebinding.
    browser.get(f"http://{REBOUND}:{world.port}/health/live")
    assert fetched(browser, path, method="DELETE")[0] == 403
    status, _, text = fetched(browser, path)
    assert status == 403
    assert "CustomerName" not in text
    assert fetched(browser, "/openapi.json")[0] == 403
    assert api.get(path).status_code == 200


def test_an_origin_that_is_named_writes_and_reads(world, browser, api):
    name = unique_name()
    browser.get(f"http://{FRIEND}:{world.pages}/")
    body = json.dumps({"CustomerName": name})
    options = {"method": "PUT", "headers": {"Content-Type": "application/json"}, "body": body}
    status, _, text = fetched(browser, f"http://localhost:{world.port}/customer", **options)
    assert status == 201, text
    assert json.loads(text)[0]["CustomerName"] == name
    assert len(api.named(name)) == 1


def test_a_link_from_another_site_can_be_followed(world, browser):
    browser.get(f"http://{STRANGER}:{world.pages}/")
    url = f"http://localhost:{world.port}/customer/123"
    browser.execute_script("location.href = arguments[0]", url)
    WebDriverWait(browser, PATIENCE_SECONDS).until(met.url_to_be(url))
    assert '"CustomerID"' in browser.page_source
