"""No Markdown file links to a file that is not there, or to a heading that its page lacks."""

import re
import subprocess

import pytest

from settings import ROOT

LISTED = subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
).stdout.split()
# A copy without git has the same files, and those of installed packages besides.
FILES = LISTED or [
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "data/*.md", "bench/results/*.md")
    for path in ROOT.glob(pattern)
]
LINK = re.compile(r"!?\[[^]]*\]\(<?([^)\s>]+)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def anchors(page):
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("name", FILES)
def test_no_link_is_dead(name):
    page = ROOT / name
    dead = []
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_document_is_looked_at():
    assert {"README.md", "docs/azure.md", "CONTRIBUTING.md", "sample-usage.md"} <= set(FILES)


def test_every_path_that_the_architecture_names_exists():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`([\w.]+(?:/[\w.]*)*(?:\.py|/))`", text))
    assert len(paths) > 30
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
