"""Authorization of requests, from the headers alone: no body is read and no connection is used.

Each route belongs to a group: `read` (GET, HEAD), `write` (all other methods) or `operate`
(OPERATE). The routes of OPEN require no credential. A new route, and a path without a route, are in
the group of their method, so that nothing is open by omission. MCP is open to callers that may read
or write; each tool then requires the group of its own route.
"""

from collections.abc import Collection

from flask import Request, current_app, request

from authentication.exposure import is_local_peer, is_loopback, refusal, remote_client_header
from authentication.principal import Caller, CannotVerify, Refused
from authentication.schemes import Method, methods
from authentication.sites import is_local_host, refused_host, refused_site
from protocol.context import RequestContext, app_context
from protocol.problems import Problem
from protocol.request_headers import RequestHeaders
from settings import Settings

MCP = "/mcp"
# Metadata of /mcp as a protected resource (RFC 9728, 3.1).
METADATA = "/.well-known/oauth-protected-resource"
# The routes for probes of orchestrators and for readers of the documentation.
OPEN = frozenset(
    (
        *("/", "/health/live", "/health/ready", "/openapi.json", "/docs", "/status"),
        *(METADATA, METADATA + MCP),
    )
)
OPEN_BELOW = ("/assets/",)
OPERATE = ("/metrics", "/status.json")
# Probes of orchestrators may send any Host.
PROBES = ("/health/live", "/health/ready")
# Variables of the headers by which a proxy or a browser shows that another machine, or another
# site's page, sends a request.
FOREIGN = frozenset(
    (
        *("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_VIA"),
        *("HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE"),
    )
)


class Authentication:
    """The two steps before each request: identify() the caller, then authorize() the request."""

    def __init__(self, settings: Settings) -> None:
        self._configured = settings.auth is not None
        self._anonymous = settings.auth_anonymous
        self._origins = frozenset(settings.cors_origins)
        self._scopes = " ".join(settings.oidc_scopes)
        self.names = settings.auth or ()
        self._methods: list[Method] = methods(
            settings.auth or (),
            api_keys=settings.api_keys,
            issuer=settings.oidc_issuer,
            audiences=settings.oidc_audience,
            algorithms=settings.oidc_algorithms,
            jwks_url=settings.oidc_jwks_url,
            groups_by_role=settings.auth_roles,
        )

    def identify(self, context: RequestContext) -> None:
        """Set g.caller, None without an accepted credential, and g.refused for a refused one."""
        own = context.g
        own.caller, own.refused, own.sent_by_browser = None, None, False
        if not self._methods:
            return
        headers = RequestHeaders(context.request.environ)
        given = [(m, p) for m in self._methods if (p := m.presented(headers)) is not None]
        try:
            if len(given) > 1:
                raise Refused("Send only one credential.")
            for method, presented in given:
                own.caller = method.caller_of(presented)
                own.sent_by_browser = method.sent_by_browser
        except (Refused, CannotVerify) as refused:
            own.refused = refused

    def authorize(self, context: RequestContext) -> None:
        """Raises Problem: unauthenticated, forbidden or issuer-unavailable."""
        current = context.request
        rule = current.url_rule.rule if current.url_rule is not None else None
        group, is_mcp = group_of(rule, current.method), rule == MCP
        if not self._configured:
            self._check_local(current, rule, group)
        elif is_mcp and group is not None:
            # The protocol requires it of every server: a page may call only what CORS allows it.
            self._check_site(current, reads=True)
        if group is None or not self._methods:
            return
        self.require(("read", "write") if is_mcp else (group,))
        if context.g.sent_by_browser:
            self._check_site(current, reads=False)

    def require(self, groups: Collection[str]) -> None:
        """Raises Problem as authorize() does, unless the caller may use one of `groups`."""
        if not self._methods:
            return
        own = app_context().g
        if own.refused is not None:
            raise self._unauthenticated(own.refused)
        if own.caller is None:
            if self._anonymous.isdisjoint(groups):
                raise self._unauthenticated(None)
        elif own.caller.groups.isdisjoint(groups):
            raise self._forbidden(" or ".join(groups))

    def _check_local(self, current: Request, rule: str | None, group: str | None) -> None:
        """Without AUTH: refuse requests from other machines, and those that a browser on this
        machine sends for another site's page."""
        environ = current.environ
        peer, host = environ.get("REMOTE_ADDR"), environ.get("HTTP_HOST")
        if (
            environ.keys().isdisjoint(FOREIGN)
            and (not peer or is_loopback(peer))
            and (host is None or is_local_host(host))
        ):
            return  # none of the checks below would refuse it
        headers = RequestHeaders(environ)
        if group is not None:
            if not is_local_peer(current.remote_addr or ""):
                raise Problem("forbidden", refusal("as this request shows"))
            header = remote_client_header(headers)
            if header is not None:
                raise Problem("forbidden", refusal(f"as this request's {header} shows"))
        if rule not in PROBES:
            reason = refused_host(headers)
            if reason is not None:
                raise Problem("forbidden", reason)
        if group is not None:
            self._check_site(current, reads=True)

    def _check_site(self, current: Request, *, reads: bool) -> None:
        headers = RequestHeaders(current.environ)
        reason = refused_site(current.method, headers, self._origins, reads=reads)
        if reason is not None:
            raise Problem("forbidden", reason)

    def opens(self, group: str) -> bool:
        """Whether this request's caller may use `group`, whatever the route requires."""
        if not self._methods or group in self._anonymous:
            return True
        caller: Caller | None = app_context().g.caller
        return caller is not None and group in caller.groups

    def _unauthenticated(self, refused: Exception | None) -> Problem:
        if isinstance(refused, CannotVerify):
            return Problem("issuer-unavailable", str(refused), retry_after=refused.retry_after)
        return Problem(
            "unauthenticated",
            str(refused or "This route requires a credential."),
            headers={"WWW-Authenticate": self._challenges("invalid_token", refused)},
        )

    def _forbidden(self, group: str) -> Problem:
        sentence = f"This route requires the route group {group}."
        return Problem(
            "forbidden",
            sentence,
            headers={"WWW-Authenticate": self._challenges("insufficient_scope", sentence)},
        )

    def _challenges(self, error: str, description: object) -> str:
        """The value of WWW-Authenticate (RFC 9110, 11.6.1).

        With the error parameters of RFC 6750, 3.1, unless `description` is None: no credential.
        """
        fault = (
            "" if description is None else f', error="{error}", error_description="{description}"'
        )
        if is_request_for_mcp() and "oidc" in self.names:
            fault += self._metadata()
        challenges = [m.challenge + (fault if m.error_in_challenge else "") for m in self._methods]
        return ", ".join(dict.fromkeys(challenges))

    def _metadata(self) -> str:
        """Where a client of /mcp finds the authorization server (RFC 9728, 5.1)."""
        scopes = f', scope="{self._scopes}"' if self._scopes else ""
        return f', resource_metadata="{request.url_root.rstrip("/")}{METADATA}{MCP}"{scopes}'


def group_of_request() -> str | None:
    """The group of this request's route; None if the route is open."""
    rule = request.url_rule
    return group_of(rule.rule if rule else None, request.method)


def is_request_for_mcp() -> bool:
    rule = request.url_rule
    return rule is not None and rule.rule == MCP


def group_of(rule: str | None, method: str) -> str | None:
    """The group of a route's rule (None: no route) and method; None if it is open."""
    # A browser sends no credential with a preflight; the response contains only methods.
    if method == "OPTIONS":
        return None
    if rule is not None and (rule in OPEN or rule.startswith(OPEN_BELOW)):
        return None
    if rule in OPERATE:
        return "operate"
    return "read" if method in ("GET", "HEAD") else "write"


def caller_claims() -> str | None:
    """The caller's claims as JSON, for the procedures of this request; None without a caller."""
    caller: Caller | None = app_context().g.get("caller")
    return caller.claims if caller is not None else None


def require(groups: Collection[str]) -> None:
    """Raises Problem unauthenticated or forbidden, unless the caller may use one of `groups`."""
    authentication: Authentication = current_app.extensions["authentication"]
    authentication.require(groups)


def opens(group: str) -> bool:
    """Whether this request's caller may use `group`, for routes that then show more."""
    authentication: Authentication = current_app.extensions["authentication"]
    return authentication.opens(group)
