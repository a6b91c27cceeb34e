"""Idempotency keys are separate for each caller and for anonymous clients."""

from __future__ import annotations

import hashlib
import json

from authentication.api_keys import ISSUER
from testkit.api_client import Api, unique_name
from testkit.callers import api_keys
from testkit.server import Server


def test_an_anonymous_client_never_gets_the_response_of_a_caller(run_folder, worker_id):
    setting, headers = api_keys([("ann", "read,write")])
    server = Server(
        run_folder / f"keys-{worker_id}",
        workers=1,
        AUTH="keys",
        API_KEYS=setting,
        AUTH_ANONYMOUS="read,write",
    )
    with server, Api(server.url) as api:
        document = {"CustomerName": unique_name()}

        def put(key: str, **sent: str):
            return api.put("/customer", json=document, headers={**sent, "Idempotency-Key": key})

        made = put("order-7", **headers["ann"])
        assert made.status_code == 201
        again = put("order-7", **headers["ann"])
        assert again.headers["Idempotency-Replayed"] == "true"
        # All that goes into the key as it is stored can be known to others.
        stored = hashlib.sha256(json.dumps([ISSUER, "ann", "order-7"]).encode()).hexdigest()
        for key in ("order-7", stored, stored.upper(), f'"{stored}"'):
            other = put(key)
            # The customer's name is taken: it is a request of its own.
            assert other.status_code == 409, key
            assert "Idempotency-Replayed" not in other.headers
