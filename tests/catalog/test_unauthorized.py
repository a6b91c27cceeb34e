"""A request without a credential makes the server read no catalog, and waits for none."""

from __future__ import annotations

from pathlib import Path

from app import close_app, create_app
from authentication.api_keys import new_key, setting_line
from settings import read_settings


def test_only_an_authorized_request_reads_an_old_catalog(tmp_path: Path):
    key = new_key()
    settings = {
        "LOCAL_DIR": str(tmp_path),
        "AUTH": "keys",
        "API_KEYS": setting_line("reader", ["read"], key),
        "CATALOG_SECONDS": "0.1",
    }
    app = create_app(read_settings(settings))
    try:
        live = app.extensions["catalog"].live
        touched: list[str] = []
        live.touch = lambda: touched.append("touched")
        client = app.test_client()
        assert client.get("/nothing").status_code == 401
        assert touched == []
        assert client.get("/nothing", headers={"X-API-Key": key}).status_code == 404
        assert touched
    finally:
        close_app(app)
