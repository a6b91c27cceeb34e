"""The pages in Chromium, by clicking."""

import itertools
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as met
from selenium.webdriver.support.wait import WebDriverWait

from authentication.api_keys import new_key, setting_line
from operations.response_models import CUSTOMER_123
from settings import ROOT
from testkit.api_client import Api
from testkit.browser import opened_browser
from testkit.procedures import procedure_server
from testkit.server import Server

PATIENCE_SECONDS = 30
OPERATION = "#operations-customer-getCustomer"
CARD = '.card[data-operation="%s"]'
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
PHONE, DESK = (390, 844), (1280, 800)


@pytest.fixture(scope="module")
def site(run_folder, worker_id):
    with Server(run_folder / f"browser-{worker_id}") as server:
        yield server


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened_browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def orders(run_folder, worker_id):
    """A site that serves procedures of the catalog too."""
    with procedure_server(run_folder / f"browser-orders-{worker_id}") as server:
        yield server


@pytest.fixture(scope="module")
def keys():
    """A key by the route groups that it opens."""
    return {"read": new_key(), "read+write+operate": new_key()}


@pytest.fixture(scope="module")
def closed(run_folder, worker_id, keys):
    """A site that requires an API key."""
    lines = [setting_line(f"k{n}", list(g.split("+")), k) for n, (g, k) in enumerate(keys.items())]
    folder = run_folder / f"browser-closed-{worker_id}"
    with Server(folder, AUTH="keys", API_KEYS=",".join(lines)) as server:
        yield server


@contextmanager
def screen(browser, size, scheme="light"):
    """A screen of (width, height), with the colour scheme that its user prefers."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    preferences = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in preferences.items()]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def opened(browser, url, place):
    """Open a page again, and wait for the element `place`."""
    browser.get("about:blank")
    browser.get(url)
    return shown(browser, place)


def shown(browser, selector):
    return wait(browser).until(met.visibility_of_element_located((By.CSS_SELECTOR, selector)))


def has_text(browser, selector, text):
    return wait(browser).until(met.text_to_be_present_in_element((By.CSS_SELECTOR, selector), text))


def texts(browser, selector):
    """The texts of all elements that match, in one call: Selenium needs one for each."""
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)",
        selector,
    )


def fill(browser, selector, text):
    place = shown(browser, selector)
    place.clear()
    place.send_keys(text)


def wait(browser):
    return WebDriverWait(browser, PATIENCE_SECONDS)


def click(browser, selector):
    place = wait(browser).until(met.element_to_be_clickable((By.CSS_SELECTOR, selector)))
    # Smooth scrolling would move it away from under the pointer.
    browser.execute_script(
        "arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", place
    )
    place.click()


def complaints(browser):
    """The errors in the browser's console, such as a refused script."""
    return [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_trying_it_out_shows_customer_123(site, browser):
    browser.get(f"{site.url}/docs")
    click(browser, f"{OPERATION} .opblock-summary-control")
    click(browser, f"{OPERATION} .try-out__btn")
    number = browser.find_element(
        By.CSS_SELECTOR, f"{OPERATION} tr[data-param-name=customer_id] input"
    )
    assert number.get_attribute("value") == "123"
    click(browser, f"{OPERATION} .execute")
    shown = wait(browser).until(
        met.visibility_of_element_located(
            (By.CSS_SELECTOR, f"{OPERATION} .live-responses-table .response .microlight")
        )
    )
    assert json.loads(shown.text) == [CUSTOMER_123]
    assert complaints(browser) == []


def test_the_landing_page_shows_both_databases_ready(site, browser):
    browser.get(site.url)
    for database in ("WWIF", "TAXI"):
        row = browser.find_element(By.CSS_SELECTOR, f"#health [data-database={database}]")
        state = (By.CSS_SELECTOR, f"#health [data-database={database}] .state")
        assert wait(browser).until(met.text_to_be_present_in_element(state, "ready"))
        assert row.find_element(By.CSS_SELECTOR, ".latency").text.endswith(" ms")
    assert complaints(browser) == []


def test_the_first_screen_shows_the_databases_and_trips_by_hour(site, browser):
    with screen(browser, DESK):
        for place in ("#health", "[data-by=hour] svg .ct-bar"):
            box = opened(browser, site.url, place).rect
            assert box["y"] + box["height"] <= DESK[1]


@pytest.mark.parametrize(("path", "most"), [("/", 64_000), ("/status", 40_000)])
def test_a_page_is_light_and_loads_from_this_server_only(site, browser, path, most):
    browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    opened(browser, f"{site.url}{path}", "svg[role=img]")
    entries = browser.execute_script(
        "return [...performance.getEntriesByType('navigation'),"
        " ...performance.getEntriesByType('resource')].map((one) => [one.name, one.transferSize])"
    )
    assert all(name.startswith(site.url) for name, _ in entries)
    assert 0 < sum(sent for _, sent in entries) < most


def test_charts_have_a_sentence_and_the_numbers_of_the_api(site, browser):
    opened(browser, site.url, "[data-by=weekday] svg[role=img]")
    with Api(site.url) as api:
        for by, groups in (("hour", 24), ("weekday", 7), ("payment_type", 4)):
            figure = shown(browser, f"#trips [data-by={by}]")
            shown(browser, f"#trips [data-by={by}] svg[role=img]")
            sentence = figure.find_element(By.TAG_NAME, "svg").get_attribute("aria-label")
            assert sentence.startswith("Trips by ") and " and " in sentence
            figure.find_element(By.TAG_NAME, "summary").click()
            cells = texts(browser, f"#trips [data-by={by}] tbody td:nth-child(2)")
            trips = [int(cell.replace(",", "")) for cell in cells]
            assert trips == [row["trips"] for row in api.get(f"/taxidata/summary?by={by}").json()]
            assert len(figure.find_elements(By.CSS_SELECTOR, ".ct-bar")) == len(trips) == groups


def test_customers_are_paged_and_searched(site, browser):
    opened(browser, site.url, "#customers tbody tr")

    def numbers():
        return [int(text) for text in texts(browser, "#customers tbody td:first-child")]

    with Api(site.url) as api:
        expected = [row["CustomerID"] for row in api.get("/customers?limit=16").json()]
        roe_park = api.named("Roe Park")
    assert numbers() == expected[:8]
    click(browser, "#customers .next")
    has_text(browser, "#customers [role=status]", "Page 2")
    assert numbers() == expected[8:]
    click(browser, "#customers .previous")
    has_text(browser, "#customers tbody td", str(expected[0]))
    assert numbers() == expected[:8]
    fill(browser, "#customers input", "Roe Park")
    has_text(browser, "#customers tbody", CUSTOMER_123["CustomerName"])
    wait(browser).until(lambda _: numbers() == [row["CustomerID"] for row in roe_park])
    fill(browser, "#customers input", "No one has this name")
    has_text(browser, "#customers [role=status]", "No customer has this name.")
    assert complaints(browser) == []


def test_a_card_is_run_by_the_keyboard_alone(site, browser):
    card = CARD % "getCustomer"
    opened(browser, site.url, card)
    browser.execute_script("document.querySelector(arguments[0]).focus()", f"{card} input")
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Run"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    has_text(browser, f"{card} .output [role=status]", "200 OK")
    result = shown(browser, f"{card} .output pre").text
    assert json.loads(result) == [CUSTOMER_123]
    assert len(result.splitlines()) > 10  # indented


def copied(browser, operation, how):
    """What the button has put into the clipboard, as the card shows it."""
    click(browser, f"{CARD % operation} [data-as={how}]")
    return shown(browser, f"{CARD % operation} .output pre").text


def run(words, text, **environment):
    done = subprocess.run(
        [*words, text],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


SHELL, PYTHON = ("sh", "-c"), (sys.executable, "-c")


@pytest.mark.parametrize(("how", "words"), [("curl", SHELL), ("python", PYTHON)])
def test_a_copied_read_and_write_run_as_they_are(site, browser, how, words):
    opened(browser, site.url, CARD % "createCustomer")
    assert run(words, copied(browser, "getCustomer", how)) == [CUSTOMER_123]
    name = f'O\'Brien & "Sons" $HOME `id` {how} é'
    place = f"{CARD % 'createCustomer'} textarea"
    click(browser, f"{CARD % 'createCustomer'} summary")
    fill(browser, place, json.dumps({"CustomerName": name}))
    text = copied(browser, "createCustomer", how)
    (first,) = run(words, text)
    assert first["CustomerName"] == name
    # The copied line has a key, so it creates one customer however often it is run.
    assert run(words, text) == [first]


def test_a_request_that_fails_is_found_by_its_id_on_the_status_page(site, browser):
    card = CARD % "getCustomer"
    opened(browser, site.url, card)
    fill(browser, f"{card} input", "999999")
    click(browser, f"{card} .primary")
    has_text(browser, f"{card} .output [role=status]", "404")
    number = shown(browser, f"{card} .output [role=status]").text.rpartition(" ")[2]
    assert number in shown(browser, f"{card} .output pre").text
    browser.get_log("browser")  # the 404 itself
    for path in ("/", "/status"):
        # Another worker's problems arrive after a second.
        wait(browser).until(
            lambda _, path=path: (
                number in opened(browser, f"{site.url}{path}", "#problems").text
                or has_text(browser, "#problems", number)
            )
        )
    assert complaints(browser) == []


def test_operations_are_filtered(site, browser):
    opened(browser, site.url, CARD % "listCustomers")
    fill(browser, "#operations .filter input", "metrics")
    has_text(browser, "#operations > [role=status]", "1 operation")
    shown(browser, CARD % "getMetrics")
    assert not browser.find_element(By.CSS_SELECTOR, CARD % "getCustomer").is_displayed()


def test_the_status_page_shows_the_requests_of_the_last_15_minutes(site, browser):
    opened(browser, f"{site.url}/status", "[data-chart=rate] svg[role=img]")
    assert int(shown(browser, "[data-figure=requests]").text.replace(",", "")) > 0
    assert "of" in shown(browser, "[data-figure=in_use]").text
    assert shown(browser, "#pools tbody th").text == "embedded"
    assert "GET /" in shown(browser, "#routes").text
    assert complaints(browser) == []


def test_the_page_asks_for_a_key_and_keeps_it_in_this_tab_only(closed, keys, browser):
    opened(browser, closed.url, "#key")
    assert "requires an API key" in shown(browser, "#key").text
    for place in ("#trips", "#customers", "#problems"):
        assert not browser.find_element(By.CSS_SELECTOR, place).is_displayed()
    run_read, run_write = (
        shown(browser, f"{CARD % name} .primary") for name in ("getCustomer", "createCustomer")
    )
    assert not run_read.is_enabled()
    assert '"X-API-Key: $API_CREDENTIAL"' in copied(browser, "getCustomer", "curl")
    fill(browser, "#key input", "spa_wrong")
    click(browser, "#key .primary")
    has_text(browser, "#key [role=status]", "not accepted")
    fill(browser, "#key input", keys["read"])
    click(browser, "#key .primary")
    has_text(browser, "#key [role=status]", "opens: read")
    shown(browser, "#customers tbody tr")
    shown(browser, "[data-by=hour] .ct-bar")
    assert not browser.find_element(By.CSS_SELECTOR, "#problems").is_displayed()
    assert not run_write.is_enabled()
    card = CARD % "getCustomer"
    click(browser, f"{card} .primary")
    has_text(browser, f"{card} .output [role=status]", "200 OK")
    for how, words in (("curl", SHELL), ("python", PYTHON)):
        text = copied(browser, "getCustomer", how)
        assert keys["read"] not in text
        assert run(words, text, API_CREDENTIAL=keys["read"]) == [CUSTOMER_123]
    opened(browser, closed.url, "#customers tbody tr")
    assert browser.execute_script("return [localStorage.length, document.cookie]") == [0, ""]
    click(browser, "#key .forget")
    wait(browser).until(met.invisibility_of_element_located((By.ID, "customers")))
    assert complaints(browser) == []


def test_only_a_key_that_operates_opens_the_status_page(closed, keys, browser):
    opened(browser, f"{closed.url}/status", "#key")
    for groups, is_open in (("read", False), ("read+write+operate", True)):
        fill(browser, "#key input", keys[groups])
        click(browser, "#key .primary")
        has_text(browser, "#key [role=status]", f"opens: {groups.replace('+', ', ')}")
        assert browser.find_element(By.ID, "figures").is_displayed() is is_open
    shown(browser, "[data-chart=pool] svg")
    assert complaints(browser) == []
    click(browser, "#key .forget")


def test_the_documentation_uses_the_key_of_the_tab(closed, keys, browser):
    opened(browser, closed.url, "#key")
    fill(browser, "#key input", keys["read"])
    click(browser, "#key .primary")
    shown(browser, "#customers tbody tr")
    browser.get(f"{closed.url}/docs#/customer/getCustomer")
    click(browser, f"{OPERATION} .try-out__btn")
    click(browser, f"{OPERATION} .execute")
    text = shown(browser, f"{OPERATION} .live-responses-table .response .microlight").text
    assert json.loads(text) == [CUSTOMER_123]
    click(browser, "nav a")
    click(browser, "#key .forget")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/", "[data-by=payment_type] svg[role=img]"),
        ("/status", "[data-chart=pool] svg[role=img]"),
        ("/docs#/taxidata/listTaxidata", "#operations-taxidata-listTaxidata .responses-table"),
        ("/docs#/customer/createCustomer", "#operations-customer-createCustomer .responses-table"),
    ],
)
def test_axe_finds_no_violation(site, browser, path, place):
    opened(browser, f"{site.url}{path}", place)
    if path == "/":
        shown(browser, "#customers tbody tr")
        shown(browser, CARD % "getCustomer")
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    for size, scheme in itertools.product((DESK, PHONE), ("light", "dark")):
        with screen(browser, size, scheme):
            found = browser.execute_async_script(
                "const done = arguments[0]; axe.run().then(r => done(r.violations.map("
                "v => [v.id, v.nodes.map(n => n.target.join(' '))])), e => done(String(e)))"
            )
        assert found == [], (size, scheme)


def test_the_state_of_a_database_is_refreshed_while_the_page_is_open(site, browser):
    browser.get(site.url)
    browser.execute_script("document.querySelector('[data-database=TAXI] .state').textContent = ''")
    state = (By.CSS_SELECTOR, "[data-database=TAXI] .state")
    assert wait(browser).until(met.text_to_be_present_in_element(state, "ready"))


def test_every_link_of_the_landing_page_leads_somewhere(site, browser):
    browser.get(site.url)
    shown(browser, CARD % "getCustomer")
    links = {
        a.get_attribute("href").partition("#")[0] for a in browser.find_elements(By.TAG_NAME, "a")
    }
    assert len(links) >= 4
    for link in links:
        found = browser.execute_async_script(
            "const [url, done] = arguments; fetch(url).then(r => done(r.status), done)", link
        )
        assert found == 200, link


def test_the_landing_page_leads_to_each_procedure_in_the_documentation(orders, browser):
    opened(browser, orders.url, CARD % "getCustomer")
    fill(browser, "#operations .filter input", "order")
    heads = texts(browser, ".card:not([hidden]) h4, .card:not([hidden]) h4 + p")
    assert ("GET /order/{order_id}", "Returns one order") in itertools.pairwise(heads)
    approve = ("POST /order/{order_id}/approve", "Approves an order that is not on hold")
    assert approve in itertools.pairwise(heads)
    click(browser, f"{CARD % 'getOrder'} a")
    shown(browser, "#operations-order-getOrder .parameters")
    assert complaints(browser) == []


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/", CARD % "getCustomer"),
        ("/status", "#routes tbody tr"),
        ("/docs#/order/createOrder", "#operations-order-createOrder .responses-table"),
    ],
)
def test_a_page_fits_a_phone(orders, browser, path, place):
    with screen(browser, PHONE):
        opened(browser, f"{orders.url}{path}", place)
        width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width == PHONE[0]
