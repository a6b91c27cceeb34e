"""Chromium without a window, driven by Selenium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver

SCRIPT_SECONDS = 120
BROWSERS = ("chromium", "google-chrome")
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1280,800", "--no-proxy-server"),
)


@contextmanager
def opened_browser(folder: Path, *arguments: str) -> Iterator[webdriver.Chrome]:
    """Chromium, without a window, with `folder` for its profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (*QUIET, *arguments, f"--user-data-dir={folder}"):
        options.add_argument(argument)
    # Named, so that Selenium looks for none elsewhere.
    driver = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    opened = webdriver.Chrome(options=options, service=driver)
    opened.set_script_timeout(SCRIPT_SECONDS)
    yield opened
    opened.quit()
