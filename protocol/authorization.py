"""Who may use which route: decided from the headers alone, before a body is read or a connection
taken.

Routes are in groups by what they do: `read` (GET, HEAD), `write` (every other method) and
`operate` (OPERATE). Those in OPEN ask nothing. What is not named here is closed: a new route, and
a path that is no route, are in the group of their method.
"""

from flask import current_app, g, request

from authentication.exposure import is_local, refusal
from authentication.principal import Caller, CannotVerify, Refused
from authentication.schemes import Method, methods
from protocol.problems import Problem
from settings import Settings

# What a browser's preflight, an orchestrator's probe and a reader of the manual need.
OPEN = ("/", "/health/live", "/health/ready", "/openapi.json", "/docs")
OPEN_BELOW = ("/assets/",)
OPERATE = ("/metrics",)


class Authentication:
    """The two steps of a request: identify() who asks, then admit() to the route or not."""

    def __init__(self, settings: Settings) -> None:
        self._chosen = settings.auth is not None
        self._anonymous = settings.auth_anonymous
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

    def identify(self) -> None:
        """Set g.caller to who asks, None without a credential; what is wrong with one is kept."""
        g.caller, g.refused = None, None
        if not self._methods:
            return
        given = [(m, p) for m in self._methods if (p := m.presented(request.headers)) is not None]
        try:
            if len(given) > 1:
                raise Refused("Send one credential only.")
            for method, presented in given:
                g.caller = method.caller_of(presented)
        except (Refused, CannotVerify) as refused:
            g.refused = refused

    def admit(self) -> None:
        """Raises Problem: unauthenticated, forbidden or issuer-unavailable."""
        group = group_of_request()
        if group is None:
            return
        if not self._chosen and not is_local(request.remote_addr or ""):
            raise Problem("forbidden", refusal("as this request shows"))
        if not self._methods:
            return
        if g.refused is not None:
            raise self._problem(g.refused)
        if g.caller is None:
            if group not in self._anonymous:
                raise self._problem(None)
        elif group not in g.caller.groups:
            raise self._forbidden(group)

    def opens(self, group: str) -> bool:
        """Whether this request's caller may use `group`, where the route itself asks less."""
        if not self._methods or group in self._anonymous:
            return True
        return g.caller is not None and group in g.caller.groups

    def _problem(self, refused: Exception | None) -> Problem:
        if isinstance(refused, CannotVerify):
            return Problem("issuer-unavailable", str(refused), retry_after=refused.retry_after)
        return Problem(
            "unauthenticated",
            str(refused or "This takes a credential."),
            headers={"WWW-Authenticate": self._challenges("invalid_token", refused)},
        )

    def _forbidden(self, group: str) -> Problem:
        sentence = f"This takes the route group {group}."
        return Problem(
            "forbidden",
            sentence,
            headers={"WWW-Authenticate": self._challenges("insufficient_scope", sentence)},
        )

    def _challenges(self, error: str, said: object) -> str:
        """RFC 9110, 11.6.1, with the errors of RFC 6750, 3.1; none where nothing was sent."""
        wrong = f', error="{error}", error_description="{said}"' if said is not None else ""
        challenges = [m.challenge + (wrong if m.error_in_challenge else "") for m in self._methods]
        return ", ".join(dict.fromkeys(challenges))


def group_of_request() -> str | None:
    """The group of the route that is asked for; None for one that is open to all."""
    rule = request.url_rule
    return group_of(rule.rule if rule else None, request.method)


def group_of(rule: str | None, method: str) -> str | None:
    """As group_of_request(), for any route's rule (None: no route) and method."""
    # A browser sends no credential with a preflight; the answer tells methods only.
    if method == "OPTIONS":
        return None
    if rule is not None and (rule in OPEN or rule.startswith(OPEN_BELOW)):
        return None
    if rule in OPERATE:
        return "operate"
    return "read" if method in ("GET", "HEAD") else "write"


def caller_claims() -> str | None:
    """What the procedures of this request are told of who asks; None for nobody in particular."""
    caller: Caller | None = g.get("caller")
    return caller.claims if caller is not None else None


def opens(group: str) -> bool:
    """Whether this request's caller may use `group`, for routes that then show more."""
    return current_app.extensions["authentication"].opens(group)
