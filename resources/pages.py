"""The landing page, the OpenAPI document and Swagger UI, without a file from another host."""

from importlib.resources import files
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from flask import Response, current_app, render_template, request, url_for
from flask_restful import Resource

from operations.catalog_routes import FIRST_READ_SECONDS
from operations.openapi import TITLE, VERSION, document, listed
from operations.operation import operation
from operations.response_models import Document, Welcome
from protocol.authorization import opens
from protocol.formats import JSON, compact
from settings import EMBEDDED_SOURCE

HTML = "text/html"
OWN = Path(__file__).parent / "html"
SWAGGER_UI = Path(str(files("flask_swagger_ui"))) / "dist"
AssetName = Literal[
    "icon.svg",
    "landing.css",
    "landing.js",
    "docs.css",
    "docs.js",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
]
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# More operations than these are listed in the documentation only.
MOST_LINES = 24
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
            response = _page(
                "landing.html",
                databases=[*databases],
                links=links,
                root=root,
                sources=databases,
                embedded=EMBEDDED_SOURCE in databases.values(),
                procedures=_procedure_lines(),
                most=MOST_LINES,
            )
        else:
            welcome = {"name": TITLE, "version": VERSION, "links": links, "databases": databases}
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
        return _page("docs.html")


class Asset(Resource):
    """The files of the pages."""

    @operation(None, media_types=tuple(MEDIA_TYPES.values()), documented=False)
    def get(self, name: AssetName) -> Response:
        """A style sheet, script or icon of the pages."""
        folder = SWAGGER_UI if name.startswith("swagger-ui") else OWN
        text = (folder / name).read_bytes()
        response = Response(text, mimetype=MEDIA_TYPES[Path(name).suffix])
        response.headers["Cache-Control"] = "public, max-age=3600"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.add_etag()
        response.make_conditional(request)
        return response


def _procedure_lines() -> list[dict[str, str]]:
    """Method, route, summary and link of each operation of the catalog."""
    # Not touched: a page that is polled must not keep a serverless database awake.
    operations = current_app.extensions["catalog"].live.current.operations
    own = len(listed(current_app))
    return [
        {
            "method": one.method.upper(),
            "route": one.path,
            "summary": one.summary,
            "link": f"{url_for('docs')}#/{quote(one.tag)}/{quote(one.operation_id)}",
        }
        for one in listed(current_app, operations)[own:]
    ]


def _page(template: str, **values: object) -> Response:
    response = Response(render_template(template, title=TITLE, version=VERSION, **values))
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
