"""Clients that openapi-generator makes of the document, in Python and TypeScript (fetch)."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from settings import ROOT

if shutil.which("java") is None or find_spec("openapi_generator_cli") is None:
    pytest.skip("openapi-generator needs Java and its package", allow_module_level=True)

PACKAGE = "generated_orders"
MODULES = ROOT / "node_modules"
SOURCE = Path(__file__).with_name("orders_fetch.ts")
# It starts the archive that its package contains with Java.
PROGRAM = Path(sys.executable).with_name("openapi-generator-cli")
COMPILER_OPTIONS = {
    **{"strict": True, "skipLibCheck": True, "types": [], "lib": ["es2022", "dom"]},
    **{"module": "commonjs", "target": "es2022", "outDir": "made"},
}


def generate(document: Path, folder: Path, generator: str, *options: str) -> None:
    done = subprocess.run(
        [
            *(str(PROGRAM), "generate", "-g", generator),
            *("-i", str(document), "-o", str(folder), *options),
        ],
        # Half of the time that it takes otherwise.
        env={**os.environ, "JAVA_OPTS": "-XX:TieredStopAtLevel=1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " ERROR " not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def generated(document: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The generated package."""
    folder = tmp_path_factory.mktemp("generated")
    generate(document, folder, "python", "--package-name", PACKAGE)
    sys.path.insert(0, str(folder))
    yield importlib.import_module(PACKAGE)
    sys.path.remove(str(folder))


@pytest.fixture
def client(generated: ModuleType, served: Any) -> Any:
    """A function that calls an operation by its name, whichever class it belongs to."""
    with generated.ApiClient(generated.Configuration(host=served.url)) as opened:
        classes = [getattr(generated, name) for name in dir(generated) if name.endswith("Api")]

        def call(name: str, *values: Any, **named: Any) -> Any:
            (owner,) = (kind for kind in classes if hasattr(kind, name))
            return getattr(owner(opened), name)(*values, **named)

        yield call


def test_python_reads_a_list_and_one_row_and_a_problem(client, generated):
    found = client("list_orders", customer="Customer 13", approved=False)
    assert [(order.order_id, order.amount, order.note) for order in found] == [(13, 19.5, None)]
    (order,) = client("get_order", 13)
    assert (order.customer, order.ordered_on.isoformat()) == ("Customer 13", "2026-01-31")
    with pytest.raises(generated.exceptions.NotFoundException) as missing:
        client("get_order", 4_000_000)
    assert json.loads(missing.value.body)["status"] == 404


def test_python_writes_once_with_a_key(client, generated):
    body = generated.CreateOrderBody(customer="Generated Shop", amount=12.25)
    first, second = (
        client("create_order_with_http_info", body, idempotency_key="generator-python")
        for _ in range(2)
    )
    assert (first.status_code, second.headers["Idempotency-Replayed"]) == (201, "true")
    assert first.data == second.data
    (order,) = client("update_order", 14, generated.UpdateOrderBody(note="generated"))
    assert (order.order_id, order.note) == (14, "generated")


def test_python_reads_customers_and_trips_of_the_sample(client):
    fields = ["CustomerID", "Delivery"]
    (customer,) = client("list_customers", limit=1, after="122", fields=fields)
    assert (customer.customer_id, customer.delivery.postal_code) == (123, "90775")
    (trip,) = client("list_taxidata", limit=1)
    assert (trip.vendor_id, trip.total_amount) == (2, 10.0)


def test_typescript_calls_the_same_operations(document, served, tmp_path):
    # Without it, version 7.26 imports the models of forms and does not write them.
    forms = ("--global-property", "skipFormModel=false")
    generate(document, tmp_path / "api", "typescript-fetch", *forms)
    (tmp_path / "node.d.ts").write_text("declare const process: { argv: string[] };\n")
    (tmp_path / "orders_fetch.ts").write_text(SOURCE.read_text())
    (tmp_path / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": COMPILER_OPTIONS, "files": ["orders_fetch.ts", "node.d.ts"]})
    )
    for words in (
        [str(MODULES / ".bin" / "tsc"), "--project", "tsconfig.json"],
        ["node", "made/orders_fetch.js", served.url],
    ):
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env={**os.environ, "NODE_PATH": str(MODULES)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    first, second = found.pop("created")
    assert first == second
    assert found == {
        "amounts": [25.5],
        "customer": "Customer 17",
        "problem": 404,
        "replayed": [None, "true"],
        "note": "from fetch",
        "day": "2026-01-31",
    }
