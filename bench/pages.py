"""Weight of the pages, and time to the first chart, in Chromium on loopback.

Run as `.venv/bin/python -m bench.pages` (needs Chromium and requirements-dev.txt). Prints a table:
requests and kB sent without and with the browser's cache, and the median of ROUNDS times from
opening the page until the first chart is drawn; for /docs, until the first operation is.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from selenium.webdriver.support.wait import WebDriverWait

from testkit.browser import opened_browser
from testkit.server import Server

ROUNDS = 7
PATIENCE_SECONDS = 60
PAGES = ("/", "/status", "/docs")
DRAWN = """
const chart = performance.getEntriesByName("first-chart")[0];
if (chart) return chart.startTime;
return document.querySelector(".opblock") ? performance.now() : null;
"""
# The refreshes of states go on for as long as the page is open.
LOADED = """
const entries = [...performance.getEntriesByType("navigation"),
  ...performance.getEntriesByType("resource")].filter((one) => !one.name.includes("/health/"));
return [entries.length, entries.reduce((sum, one) => sum + one.transferSize, 0)];
"""


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder, "server")) as server,
        opened_browser(Path(folder, "chromium")) as browser,
    ):
        browser.get(server.url)  # starts both
        print("| page | cache | requests | kB | ms |\n|---|---|---|---|---|")
        for page in PAGES:
            for cached in (False, True):
                rounds = [_open(browser, server.url + page, cached) for _ in range(ROUNDS)]
                requests, sent, ms = (
                    statistics.median(column) for column in zip(*rounds, strict=True)
                )
                cache = "full" if cached else "empty"
                print(f"| `{page}` | {cache} | {requests:.0f} | {sent / 1000:.1f} | {ms:.0f} |")


def _open(browser, url: str, cached: bool) -> tuple[int, int, float]:
    browser.get("about:blank")
    if not cached:
        browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    browser.get(url)
    wait = WebDriverWait(browser, PATIENCE_SECONDS, poll_frequency=0.02)
    ms = wait.until(lambda _: browser.execute_script(DRAWN))
    # Until all has been loaded: the number of requests stands still.
    seen = [-1]

    def settled(_: object) -> bool:
        seen.append(browser.execute_script(LOADED)[0])
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    wait.until(settled)
    requests, sent = browser.execute_script(LOADED)
    return requests, sent, ms


if __name__ == "__main__":
    main()
