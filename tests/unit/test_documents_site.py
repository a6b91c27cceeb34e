"""The documents build into a site with strict checks: every link, anchor and page of the menu."""

import os
import re
import subprocess
import sys

import pytest

from settings import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_first_page_is_the_readme(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "<h1" in text and "SQL procedures as a REST API" in text
    assert "scripts/run" in text


def test_no_page_loads_anything_from_elsewhere(site):
    loads = re.compile(r'<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)="?(https?://[^">\s]+)')
    found = {}
    for page in site.rglob("*.html"):
        if hits := loads.findall(page.read_text(encoding="utf-8")):
            found[str(page.relative_to(site))] = hits
    assert found == {}
