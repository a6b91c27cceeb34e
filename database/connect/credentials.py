"""Credentials that request Microsoft Entra ID tokens: azure-identity's, and App Service's older
endpoint.

Sources: App Service, "Managed identities: REST endpoint reference" (both protocol versions);
RFC 7519 for a JWT's claims.
"""

import base64
import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime
from typing import Any, NamedTuple, Protocol, cast


class CredentialAnswer(Protocol):
    """A token, and its expiry in epoch seconds."""

    @property
    def token(self) -> str: ...
    @property
    def expires_on(self) -> float: ...


class Credential(Protocol):
    """An azure-identity credential, as far as this product uses one."""

    def get_token(self, scope: str, /) -> CredentialAnswer: ...


class Cloud(NamedTuple):
    """One of Microsoft's clouds: the audience of its databases' tokens, the suffix of its
    storage accounts, and the suffixes of its SQL servers and Synapse workspaces."""

    audience: str
    storage_suffix: str
    sql_suffixes: tuple[str, ...]


# azure-cli, azure/cli/core/cloud.py: each cloud's suffixes sqlServerHostname, storage and
# synapseAnalytics.
CLOUDS = (
    Cloud(
        "https://database.windows.net/",
        "core.windows.net",
        (".database.windows.net", ".sql.azuresynapse.net"),
    ),
    Cloud(
        "https://database.chinacloudapi.cn/",
        "core.chinacloudapi.cn",
        (".database.chinacloudapi.cn", ".sql.azuresynapse.azure.cn"),
    ),
    Cloud(
        "https://database.usgovcloudapi.net/",
        "core.usgovcloudapi.net",
        (".database.usgovcloudapi.net", ".sql.azuresynapse.usgovcloudapi.net"),
    ),
)
AUDIENCE = CLOUDS[0].audience


def cloud_of(server: str) -> Cloud:
    """The cloud of the host in `server`, as Server= has it: "tcp:host,1433", any case.

    The public cloud for a host of no known suffix: an alias, an address, a private name.
    """
    host = server.strip().lower().removeprefix("tcp:").partition(",")[0].partition("\\")[0]
    host = host.strip().rstrip(".")
    return next((cloud for cloud in CLOUDS if host.endswith(cloud.sql_suffixes)), CLOUDS[0])


def default_credential(client_id: str | None) -> Credential:
    """azure-identity's DefaultAzureCredential, which reads the process's own environment;
    `client_id` selects a user-assigned identity. Raises ImportError without azure-identity.
    """
    # Imported on first use: the import takes a quarter of a second and about 20 MB.
    from azure.identity import DefaultAzureCredential

    # With its defaults, 300 s and ten retries, one hung request could outlast a whole outage.
    credential = DefaultAzureCredential(
        managed_identity_client_id=client_id, connection_timeout=5, read_timeout=10, retry_total=2
    )
    return cast(Credential, credential)


def name_of(credential: object) -> str:
    """The credential's class; for a chain, also that of the credential in it that answered."""
    # azure-identity reports the latter only in its own log.
    used = getattr(credential, "_successful_credential", None)
    return type(credential).__name__ + (f" ({type(used).__name__})" if used else "")


class _Answer(NamedTuple):
    """A CredentialAnswer."""

    token: str
    expires_on: float


class AppService2017Credential:
    """App Service's older managed identity protocol (MSI_ENDPOINT, API version 2017-09-01),
    whose expiry may be a US date; azure-identity reads only a number there.
    """

    def __init__(
        self,
        endpoint: str,
        secret: str,
        *,
        client_id: str | None = None,
        audience: str = AUDIENCE,
    ) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise ValueError("MSI_ENDPOINT must be an http or https address.")
        query = {"resource": audience, "api-version": "2017-09-01"}
        if client_id:
            query["clientid"] = client_id
        self._url = endpoint + "?" + urllib.parse.urlencode(query)
        self._secret = secret

    def get_token(self, scope: str) -> _Answer:
        """Raises OSError, or ValueError for an answer that holds no token."""
        # Without a proxy: it cannot reach this machine's loopback, and would see the secret.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(self._url, headers={"secret": self._secret})
        try:
            with opener.open(request, timeout=10) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as refusal:
            refusal.close()  # it holds the socket, and is kept as the cause of a failure
            raise
        if not isinstance(answer, dict) or not answer.get("access_token"):
            raise ValueError("The managed identity endpoint answered without a token.")
        return _Answer(answer["access_token"], epoch_seconds(str(answer.get("expires_on"))))


def unquote(text: str) -> str:
    """`text` without surrounding blanks and quotes: `az … --query accessToken` prints quotes."""
    return text.strip().strip("'\"").strip()


def jwt_claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, unverified (the server verifies them); {} for text that is not a JWT."""
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


def epoch_seconds(text: str) -> float:
    """Epoch seconds, or a US date as App Service on Linux and on Windows writes it
    ("06/20/2019 02:57:58 +00:00", "1/16/2020 5:24:12 AM +00:00"). Raises ValueError.
    """
    if text.isdecimal():
        return float(text)
    for form in ("%m/%d/%Y %H:%M:%S %z", "%m/%d/%Y %I:%M:%S %p %z"):
        with contextlib.suppress(ValueError):
            return datetime.strptime(text, form).timestamp()
    raise ValueError("The managed identity endpoint answered with an expiry in an unknown format.")
