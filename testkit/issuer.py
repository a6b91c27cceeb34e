"""An OpenID Connect issuer on loopback: real keys, a real HTTP server, a count of its visits."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "api://customers"
DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/keys"


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str) -> dict[str, Any]:
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    """What an attacker takes for the secret of an HMAC."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def encoded(part: object) -> str:
    """base64url without padding (RFC 7515, 2)."""
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


class Issuer:
    """Signs tokens and publishes the keys. `visits` counts requests by path."""

    def __init__(self) -> None:
        self.visits: Counter[str] = Counter()
        self.keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {"rsa-1": rsa_key()}
        self.delay = 0.0  # seconds before each answer
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.visits[self.path] += 1
                time.sleep(issuer.delay)
                body = json.dumps(issuer.document(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def document(self, path: str) -> dict[str, Any]:
        if path == DISCOVERY:
            return {"issuer": self.url, "jwks_uri": self.url + JWKS}
        return {"keys": [public_jwk(key, kid) for kid, key in self.keys.items()]}

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Good ones that open `read`; a change to None leaves the claim out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "8b1f",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "scp": "read",
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self,
        *,
        key: Any = None,
        algorithm: str = "RS256",
        header: dict[str, Any] | None = None,
        **changed: Any,
    ) -> str:
        """A token signed with `key`, by default with the key that its header names."""
        header = {"kid": "rsa-1", **(header or {})}
        header = {name: value for name, value in header.items() if value is not None}
        return jwt.encode(
            self.claims(**changed),
            key or self.keys["rsa-1"],
            algorithm=algorithm,
            headers=header,
        )

    def __enter__(self) -> Issuer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
