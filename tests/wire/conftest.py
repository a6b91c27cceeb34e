"""The real driver, and a scripted server for it to talk to."""

from __future__ import annotations

import datetime
import importlib.util
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyodbc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connection_manager import ConnectionManager
from embedded.cluster import API_ROLE, EmbeddedCluster
from testkit.tds.server import TdsServer

LIBRARIES = Path("libs", "linux")
Connect = Callable[..., pyodbc.Connection]
Manage = Callable[..., ConnectionManager]


@pytest.fixture(scope="session")
def driver() -> str:
    """The path of Microsoft's driver inside the mssql-python package."""
    package = importlib.util.find_spec("mssql_python_odbc")
    assert package and package.origin, "mssql-python is not installed"
    libraries = Path(package.origin).parent / LIBRARIES
    found = sorted(libraries.glob(f"debian_ubuntu/{platform.machine()}/lib/libmsodbcsql-*.so*"))
    assert found, f"no driver for {platform.machine()} in mssql-python"
    pyodbc.pooling = False
    return str(found[-1])


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, run_folder: Path) -> Iterator[EmbeddedCluster]:
    """A PostgreSQL with the FUNCTIONS of the test's module, and a role for the API."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    module = request.module.__name__.rpartition("_")[2]
    made = EmbeddedCluster(
        run_folder / f"{module}-{worker}",
        prepare=lambda new: new.run_sql(f'CREATE ROLE "{API_ROLE}" LOGIN'),
    )
    made.start()
    made.run_sql(request.module.FUNCTIONS)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PEM file with a fresh key and its self-signed certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return str(path)


@pytest.fixture
def server(certificate: str) -> Iterator[TdsServer]:
    """A fresh server; the test fails if the server itself broke."""
    with TdsServer(certificate=certificate) as running:
        yield running
    assert running.failures == []


@pytest.fixture
def connect(driver: str, server: TdsServer) -> Iterator[Connect]:
    """Connect through the real driver; what is still open at the end is closed."""
    opened: list[pyodbc.Connection] = []

    def open_one(*, login_timeout: int = 5, token: bytes | None = None, **keywords: str):
        text = {
            "DRIVER": driver,
            "SERVER": f"127.0.0.1,{server.port}",
            "DATABASE": "WWIF",
            "Encrypt": "no",
            "ConnectRetryCount": "0",
            **({} if token else {"UID": "reader", "PWD": "secret}{"}),
            **keywords,
        }
        joined = ";".join(f"{key}={_quoted(value)}" for key, value in text.items())
        attributes = {1256: token} if token else {}
        connection = pyodbc.connect(
            joined, autocommit=True, timeout=login_timeout, attrs_before=attributes
        )
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        try:
            connection.close()
        except pyodbc.Error:
            continue


def _quoted(value: str) -> str:
    return "{" + value.replace("}", "}}") + "}" if set(value) & set(";{}") else value


@pytest.fixture
def catalog_manager(driver: str, server: TdsServer) -> Iterator[Manage]:
    """Makes managers of one connection to the scripted server, for catalog calls."""
    made: list[ConnectionManager] = []

    def make(**options: Any) -> ConnectionManager:
        text = f"DRIVER={driver};SERVER=127.0.0.1,{server.port};UID=r;PWD=p;Encrypt=no"
        options = {"deadline_seconds": 5.0, "max_size": 1, **options}
        made.append(ConnectionManager(text, family="sqlserver", **options))
        return made[-1]

    yield make
    for manager in made:
        assert manager.close()
