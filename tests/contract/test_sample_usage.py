"""sample-usage.md tells the truth: each of its lines is run by bash and curl, from top to bottom.

A ```bash block is followed by its status in bold and, mostly, by a block with the answer. In an
answer `…` stands for anything, and the numbers of customers made on the way for whatever they got:
on a fresh database those that are shown.
"""

import os
import re
import shlex
import subprocess
from dataclasses import dataclass

import pytest

from settings import ROOT
from testkit.api_client import alike
from testkit.routes import application, routes, spoken_of
from testkit.server import Server

TEXT = (ROOT / "sample-usage.md").read_text(encoding="utf-8")
ADDRESS = "localhost:5000"
BLOCK = re.compile(
    r"```bash\n(?P<lines>.*?)```\n\n\*\*(?P<status>\d{3})\*\*[^\n]*\n"
    r"(?:\n```(?:json|csv|text)\n(?P<answer>.*?)\n?```)?",
    re.DOTALL,
)
# The first number that a fresh database gives, and those after it.
NEW_NUMBER = re.compile(r"\b10[6-9]\d\b")
FIRST_NEW_NUMBER = 1062


@dataclass
class Sample:
    lines: str
    status: int
    answer: str | None

    @property
    def requests(self):
        """(method, path) of each curl line."""
        for line in self.lines.replace("\\\n", " ").splitlines():
            if "curl" not in line:
                continue
            words = shlex.split(line.replace("$(", " ").replace(")", " "))
            method = words[words.index("-X") + 1] if "-X" in words else "GET"
            for word in words:
                if word.startswith(ADDRESS):
                    yield method, re.sub(r"\$\w+", "1", word.removeprefix(ADDRESS)) or "/"


SAMPLES = [Sample(m["lines"], int(m["status"]), m["answer"]) for m in BLOCK.finditer(TEXT)]


class Reader:
    """Types the lines into one shell, and remembers which numbers new customers got."""

    def __init__(self, url, folder, engine):
        # The page shows the embedded sample.
        self._unlike = "" if engine == "postgresql" else "embedded sample with invented data"
        self._address = url.removeprefix("http://")
        self.numbers = {}
        self._variables = folder / "variables"
        self._variables.touch()
        folder.joinpath(".curlrc").write_text(
            'write-out = "%{stderr}%{http_code}\\n"\nnoproxy = "*"\nmax-time = 60\n'
        )
        self._environment = {**os.environ, "CURL_HOME": str(folder)}

    def check(self, sample):
        lines = sample.lines.replace(ADDRESS, self._address)
        kept = " ".join(re.findall(r"^(\w+)=", lines, re.MULTILINE))
        keep = f"declare -p {kept} >>{self._variables}" if kept else ""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f". {self._variables}\n{lines}{keep}"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        shown = f"{lines}{done.stdout}{done.stderr}"
        assert done.returncode == 0, shown
        assert done.stderr.split()[-1] == str(sample.status), shown
        if sample.answer is not None:
            self._compare(sample.answer, done.stdout.replace("\r\n", "\n").strip())

    def _as_here(self, text):
        return NEW_NUMBER.sub(lambda m: self.numbers.get(m[0], m[0]), text)

    def _compare(self, wanted, answer):
        pattern, unknown = "", []
        if self._unlike:
            wanted = wanted.replace(self._unlike, "…")
        for part in re.split(r"(…|\b10[6-9]\d\b)", alike(wanted)):
            if part == "…":
                pattern += ".*"
            elif NEW_NUMBER.fullmatch(part) and part not in self.numbers:
                pattern += r"(\d+)"
                unknown.append(part)
            else:
                pattern += re.escape(self._as_here(part))
        found = re.fullmatch(pattern, alike(answer), re.DOTALL)
        assert found, f"shown:  {wanted}\nreally: {answer}"
        self.numbers.update(zip(unknown, found.groups(), strict=True))


@pytest.fixture
def reader(server, tmp_path, engine):
    return Reader(server.url, tmp_path, engine)


def made_by_the_lines(api):
    """What a reader has made and not removed; the sample data's numbers are lower."""
    names = set(re.findall(r'"CustomerName": ?"([^"]+)"', TEXT))
    named = [customer for name in names for customer in api.named(name)]
    return [c["CustomerID"] for c in named if c["CustomerID"] >= FIRST_NEW_NUMBER]


def test_every_line_answers_what_is_shown_and_what_the_lines_make_they_remove(api, reader):
    for number in made_by_the_lines(api):
        api.delete(f"/customer/{number}")
    assert len(SAMPLES) == TEXT.count("```bash") > 10
    for sample in SAMPLES:
        reader.check(sample)
    assert made_by_the_lines(api) == []


def test_the_page_works_again_and_shows_the_numbers_of_a_fresh_database(folder):
    with Server(folder, workers=1) as server:
        for repetition in range(2):
            reader = Reader(server.url, folder, "postgresql")
            for sample in SAMPLES:
                reader.check(sample)
            as_shown = all(shown == real for shown, real in reader.numbers.items())
            assert as_shown == (repetition == 0), reader.numbers


def test_a_wrong_answer_would_be_seen(reader):
    with pytest.raises(AssertionError, match="really"):
        reader.check(Sample("curl -s localhost:5000/customer/123", 200, "[]"))
    with pytest.raises(AssertionError):
        reader.check(Sample("curl -s localhost:5000/customer/123", 404, None))


def test_every_route_has_a_line(tmp_path):
    requests = [request for sample in SAMPLES for request in sample.requests]
    with application(tmp_path) as app:
        assert spoken_of(app, requests) == routes(app)
