"""The landing page, the OpenAPI document and Swagger UI, without a file from another host."""

from importlib.resources import files
from pathlib import Path
from typing import Literal

from flask import Response, current_app, render_template, request, url_for
from flask_restful import Resource

from authentication.principal import GROUPS
from operations.catalog_routes import FIRST_READ_SECONDS
from operations.openapi import TITLE, VERSION, document
from operations.operation import operation
from operations.response_models import Document, Welcome
from protocol.authorization import opens
from protocol.formats import JSON, compact
from resources.health import NOT_CONFIGURED
from settings import EMBEDDED_SOURCE

HTML = "text/html"
OWN = Path(__file__).parent / "html"
SWAGGER_UI = Path(str(files("flask_swagger_ui"))) / "dist"
AssetName = Literal[
    "icon.svg",
    "base.css",
    "landing.css",
    "status.css",
    "docs.css",
    "landing.js",
    "status.js",
    "docs.js",
    "charts.js",
    "customers.js",
    "operations.js",
    "session.js",
    "snippets.js",
    "tables.js",
    "trips.js",
    "chartist.js",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
]
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# The files that change only with a version of their package.
LIBRARIES = ("chartist.js", "swagger-ui.css", "swagger-ui-bundle.js")
# What the form for a credential says of each method of AUTH, and the label of its field.
REQUIRED = {"keys": "an API key", "oidc": "a bearer token", "easyauth": "signing in"}
LABELS = {"keys": "API key", "oidc": "Bearer token"}
# Swagger UI draws with inline styles and icons in data: URLs; scripts come from files only.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


class Landing(Resource):
    """The landing page."""

    @operation(Welcome, media_types=(JSON, HTML), documented=False)
    def get(self) -> Response:
        """Links to the routes and the state of the databases: a page for browsers, else JSON."""
        # No probe of the databases: App Service's Always On requests this route every five
        # minutes, and each login would keep a serverless database from pausing.
        links = {
            "documentation": url_for("docs"),
            "openapi": url_for("openapi"),
            "health": url_for("health_ready"),
            "status": url_for("status"),
            "figures": url_for("status_figures"),
        }
        if "customer" in current_app.view_functions:
            links |= {
                "customer": url_for("customer", customer_id=123),
                "customers": url_for("customers", limit=10),
                "trips": url_for("taxidata", limit=10),
                "summary": url_for("taxidata_summary", by="hour"),
                "passengers": url_for("passengers"),
            }
        # The route is open; only callers with `operate` see the names of servers.
        databases = current_app.extensions["databases"].sources(with_place=opens("operate"))
        if request.accept_mimetypes.best_match([JSON, HTML], default=JSON) == HTML:
            root = request.host_url.rstrip("/")
            response = page(
                "landing.html",
                databases=databases,
                links=links,
                mcp="mcp" in current_app.view_functions,
                root=root,
                embedded=EMBEDDED_SOURCE in databases.values(),
                customers=_serves("WWIF", databases, links),
                trips=_trips(databases, links),
            )
        else:
            welcome = {
                "name": TITLE,
                "version": VERSION,
                "links": links,
                "groups": _groups(),
                "databases": databases,
            }
            response = Response(compact(welcome), mimetype=JSON)
        response.vary.add("Accept")
        response.headers["Cache-Control"] = "no-store"
        return response


class OpenApi(Resource):
    """The OpenAPI document of Python resources and of the catalog as it is now."""

    @operation(Document)
    def get(self) -> Response:
        """The API in OpenAPI 3.1.

        Lists every operation, also of procedures that were added while the server runs.
        """
        live = current_app.extensions["catalog"].live
        live.touch()
        if live.unread:
            live.wait_until_read(FIRST_READ_SECONDS)
        catalog = live.current
        made, text = current_app.extensions.get("openapi", (None, ""))
        if made is not catalog:
            text = compact(document(current_app, catalog.operations))
            current_app.extensions["openapi"] = catalog, text
        return Response(text, mimetype=JSON)


class Docs(Resource):
    """Swagger UI over the OpenAPI document."""

    @operation(None, media_types=(HTML,), documented=False)
    def get(self) -> Response:
        """Interactive documentation of every operation."""
        return page("docs.html")


class Asset(Resource):
    """The files of the pages."""

    @operation(None, media_types=tuple(MEDIA_TYPES.values()), documented=False)
    def get(self, name: AssetName) -> Response:
        """A style sheet, script or icon of the pages."""
        folder = SWAGGER_UI if name.startswith("swagger-ui") else OWN
        text = (folder / name).read_bytes()
        response = Response(text, mimetype=MEDIA_TYPES[Path(name).suffix])
        # A page must not run with another version's scripts.
        seconds = 86400 if name in LIBRARIES else 0
        response.headers["Cache-Control"] = f"public, max-age={seconds}"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.add_etag()
        response.make_conditional(request)
        return response


def _serves(database: str, databases: dict[str, str], links: dict[str, str]) -> bool:
    return "customers" in links and databases.get(database) not in (None, NOT_CONFIGURED)


def _trips(databases: dict[str, str], links: dict[str, str]) -> str:
    """When to load the charts: "now", "asked" (the queries may cost money), or "" for never."""
    if not _serves("TAXI", databases, links):
        return ""
    return "now" if databases["TAXI"] == EMBEDDED_SOURCE else "asked"


def _groups() -> list[str]:
    """The route groups that this request's caller may use."""
    return [group for group in GROUPS if opens(group)]


def page(template: str, **values: object) -> Response:
    """A page, with the values that each page uses."""
    methods = current_app.extensions["authentication"].names
    text = render_template(
        template,
        **values,
        title=TITLE,
        version=VERSION,
        methods=methods,
        groups=_groups(),
        required=" or ".join(REQUIRED[method] for method in methods),
        label=" or ".join(LABELS[method] for method in methods if method in LABELS),
    )
    response = Response(text)
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
