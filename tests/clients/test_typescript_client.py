"""A client over the types that openapi-typescript makes of the document calls five operations."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from settings import ROOT

MODULES = ROOT / "node_modules"
PROGRAM = Path(__file__).with_name("orders.ts")
COMPILER_OPTIONS = {
    **{"strict": True, "noUncheckedIndexedAccess": True, "skipLibCheck": True},
    **{"module": "esnext", "moduleResolution": "bundler", "target": "es2022"},
    **{"lib": ["es2022", "dom"], "types": []},
}


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_five_operations_are_called_with_the_types_of_the_document(served, document, tmp_path):
    (tmp_path / "node_modules").symlink_to(MODULES)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": COMPILER_OPTIONS, "files": ["orders.ts", "node.d.ts"]})
    )
    # The one global of Node that the program uses.
    (tmp_path / "node.d.ts").write_text("declare const process: { argv: string[] };\n")
    (tmp_path / "orders.ts").write_text(PROGRAM.read_text())
    run(tmp_path, str(MODULES / ".bin" / "openapi-typescript"), str(document), "-o", "api.d.ts")
    run(tmp_path, str(MODULES / ".bin" / "tsc"))
    found = json.loads(run(tmp_path, "node", "orders.js", served.url))
    first, second = found.pop("created")
    assert first == second
    assert found == {
        "amounts": [10.5],
        "customer": "Customer 7",
        "problem": 404,
        "replayed": [None, "true"],
        "note": "from TypeScript",
        "approved": True,
        "refused": "The order is on hold.",
    }
