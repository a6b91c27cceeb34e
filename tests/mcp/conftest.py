"""A server with the sample and procedures of its own, whose tools agents call."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.agent import Agent
from testkit.procedures import procedure_server
from testkit.server import Server

SCRIPT = Path(__file__).with_name("procedures.sql")


@pytest.fixture(scope="session")
def server(run_folder: Path) -> Iterator[Server]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    folder = run_folder / f"mcp-{worker}"
    program = "testkit.checkout_counter:app"
    # One worker, so that its count of checkouts is the server's.
    with procedure_server(folder, SCRIPT, program=program, workers=1) as running:
        yield running


@pytest.fixture
def agent(server: Server) -> Iterator[Agent]:
    with Agent(server.url) as client:
        yield client
