"""Newman, the command line of Postman, runs the collection from top to bottom."""

import json
import subprocess

import pytest

from settings import ROOT
from testkit.server import Server

COLLECTION = ROOT / "postman" / "sql-procedures-api.postman_collection.json"
NEWMAN = ROOT / "node_modules" / ".bin" / "newman"


@pytest.fixture(scope="module")
def own(run_folder, worker_id):
    """A server of its own: other tests would count the customers that the collection creates."""
    with Server(run_folder / f"newman-{worker_id}") as server:
        yield server


def test_every_request_of_the_collection_is_answered_as_described(own, tmp_path):
    report = tmp_path / "report.json"
    run = subprocess.run(
        [
            *(str(NEWMAN), "run", str(COLLECTION), "--env-var", f"baseUrl={own.url}"),
            *("--reporters", "cli,json", "--reporter-json-export", str(report), "--color", "off"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    counted = json.loads(report.read_text(encoding="utf-8"))["run"]["stats"]
    operations = sum(len(folder["item"]) for folder in json.loads(COLLECTION.read_text())["item"])
    assert counted["requests"]["total"] == operations
    assert counted["assertions"]["total"] >= 2 * operations
