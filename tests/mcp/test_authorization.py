"""The rights that a tool requires, and where a client without a token finds the issuer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testkit.agent import Agent, message, tool_call
from testkit.callers import api_keys
from testkit.issuer import AUDIENCE, Issuer
from testkit.server import Server

METADATA = "/.well-known/oauth-protected-resource"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(scope="module")
def guarded(server: Server, issuer: Issuer) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A second server over the same database, which requires a credential."""
    groups = (("reader", "read"), ("editor", "read,write"), ("writer", "write"), ("ops", "operate"))
    lines, callers = api_keys(groups)
    settings = {
        **{"AUTH": "keys,oidc", "API_KEYS": lines, "OIDC_ISSUER": issuer.url},
        **{"OIDC_AUDIENCE": AUDIENCE, "OIDC_SCOPES": "api://customers/read"},
    }
    with Server(server.folder, workers=1, **settings) as own:
        yield own, callers


@pytest.fixture
def of(guarded):
    """of(caller): an agent with the credential of this caller."""
    opened = []

    def made(caller: str | dict[str, str] | None) -> Agent:
        server, callers = guarded
        headers = callers[caller] if isinstance(caller, str) else caller
        opened.append(Agent(server.url, headers))
        return opened[-1]

    yield made
    for agent in opened:
        agent.close()


def test_the_list_has_the_tools_that_the_caller_may_use(of):
    reads, all_tools, writes = (list(of(name).tools()) for name in ("reader", "editor", "writer"))
    assert "get_order" in reads
    assert "create_order" not in reads
    assert set(reads) | set(writes) == set(all_tools)
    assert not set(reads) & set(writes)
    assert of("reader").ask("tools/list")["cacheScope"] == "private"


def test_a_call_needs_the_right_of_its_operation(of):
    assert of("reader").rows("get_order", order_id=1)
    order = {"customer": "of an editor", "amount": 1}
    assert of("editor").rows("create_order", **order)
    refused = of("reader").post_message(tool_call("create_order", **order))
    assert refused.status_code == 403
    assert "insufficient_scope" in refused.headers["WWW-Authenticate"]
    assert of("writer").post_message(tool_call("get_order", order_id=1)).status_code == 403
    assert of("ops").post_message(message("tools/list")).status_code == 403


def test_a_request_without_a_credential_learns_where_to_get_one(of, guarded, issuer):
    response = of(None).post_message(message("tools/list"))
    assert response.status_code == 401
    challenge = response.headers["WWW-Authenticate"]
    server, _ = guarded
    address = f"{server.url}{METADATA}/mcp"
    assert f'resource_metadata="{address}"' in challenge
    assert 'scope="api://customers/read"' in challenge
    for path in (METADATA, f"{METADATA}/mcp"):
        found = of(None).get(path)
        assert found.json() == {
            "resource": f"{server.url}/mcp",
            "resource_name": "SQL procedures API",
            "authorization_servers": [issuer.url],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["api://customers/read"],
        }
    # Other routes are no resource of the protocol.
    assert "resource_metadata" not in of(None).get("/customers").headers["WWW-Authenticate"]


def test_a_token_calls_tools_as_its_subject(of, issuer):
    agent = of({"Authorization": f"Bearer {issuer.token(scp='read')}"})
    (row,) = agent.rows("get_caller")
    assert '"subject":"8b1f"' in row["caller"].replace(": ", ":")
    other = of({"Authorization": f"Bearer {issuer.token(aud='api://another')}"})
    response = other.post_message(message("tools/list"))
    assert response.status_code == 401
    assert "another audience" in response.text


def test_a_page_of_another_site_is_refused_with_a_credential_too(of):
    sent = tool_call("get_order", order_id=1)
    response = of("reader").post_message(sent, Origin="https://evil.example")
    assert response.status_code == 403


def test_the_caller_of_a_tool_is_the_caller_of_its_request(of):
    (row,) = of("reader").rows("get_caller")
    assert '"subject":"reader"' in row["caller"].replace(": ", ":")


def test_keys_of_two_callers_are_separate(of):
    order = {"customer": "of two callers", "amount": 1, "idempotency_key": "the same"}
    first, second = of("editor").rows("create_order", **order), of("writer")
    assert second.rows("create_order", **order) != first


def test_metadata_exists_only_where_oidc_is_configured(agent):
    assert agent.get(METADATA).status_code == 404
