"""A server with foreign procedures, and the OpenAPI document that it serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from testkit.procedures import procedure_server
from testkit.server import Server


@pytest.fixture(scope="session")
def served(run_folder: Path, worker_id: str) -> Iterator[Server]:
    """Its own, because clients create orders."""
    with procedure_server(run_folder / f"clients-{worker_id}") as server:
        yield server


@pytest.fixture(scope="session")
def document(served: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_bytes(requests.get(f"{served.url}/openapi.json", timeout=30).content)
    return path
