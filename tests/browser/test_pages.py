"""The pages in Chromium, by clicking."""

import json
import shutil
from contextlib import contextmanager

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as met
from selenium.webdriver.support.wait import WebDriverWait

from operations.response_models import CUSTOMER_123
from testkit.procedures import procedure_server
from testkit.server import Server

PATIENCE_SECONDS = 30
BROWSERS = ("chromium", "google-chrome")
OPERATION = "#operations-customer-getCustomer"
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1280,800", "--no-proxy-server"),
)


@pytest.fixture(scope="module")
def site(run_folder, worker_id):
    with Server(run_folder / f"browser-{worker_id}") as server:
        yield server


@contextmanager
def opened_browser(folder, *arguments):
    """Chromium, without a window, with `folder` for its profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (*QUIET, *arguments, f"--user-data-dir={folder}"):
        options.add_argument(argument)
    # Named, so that Selenium looks for none elsewhere.
    driver = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    opened = webdriver.Chrome(options=options, service=driver)
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened_browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def orders(run_folder, worker_id):
    """A site that serves procedures of the catalog too."""
    with procedure_server(run_folder / f"browser-orders-{worker_id}") as server:
        yield server


@contextmanager
def phone(browser):
    """The screen of a phone, 390 pixels wide."""
    screen = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


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


def test_the_landing_page_fits_one_screen(site, browser):
    browser.get(site.url)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    assert height <= browser.execute_script("return window.innerHeight")


def test_the_state_of_a_database_is_refreshed_while_the_page_is_open(site, browser):
    browser.get(site.url)
    browser.execute_script("document.querySelector('[data-database=TAXI] .state').textContent = ''")
    state = (By.CSS_SELECTOR, "[data-database=TAXI] .state")
    assert wait(browser).until(met.text_to_be_present_in_element(state, "ready"))


def test_every_link_of_the_landing_page_leads_somewhere(site, browser):
    browser.get(site.url)
    links = {a.get_attribute("href") for a in browser.find_elements(By.TAG_NAME, "a")}
    assert len(links) >= 6
    for link in links:
        found = browser.execute_async_script(
            "const [url, done] = arguments; fetch(url).then(r => done(r.status), done)", link
        )
        assert found == 200, link


def test_the_landing_page_leads_to_each_procedure_in_the_documentation(orders, browser):
    browser.get(orders.url)
    lines = browser.find_elements(By.CSS_SELECTOR, "#procedures li")
    texts = [" ".join(line.text.split()) for line in lines]
    assert "GET /order/{order_id} Returns one order" in texts
    assert "POST /order/{order_id}/approve Approves an order that is not on hold" in texts
    click(browser, "#procedures a[href$='/order/getOrder']")
    shown = (By.CSS_SELECTOR, "#operations-order-getOrder .parameters")
    assert wait(browser).until(met.visibility_of_element_located(shown))
    assert complaints(browser) == []


@pytest.mark.parametrize("path", ["/", "/docs#/order/createOrder"])
def test_a_page_fits_a_phone(orders, browser, path):
    with phone(browser):
        browser.get("about:blank")
        browser.get(f"{orders.url}{path}")
        place = "#health" if path == "/" else "#operations-order-createOrder .responses-table"
        wait(browser).until(met.visibility_of_element_located((By.CSS_SELECTOR, place)))
        width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width == 390
