"""For people: the landing page and the documentation to try out. Nothing comes from elsewhere."""

from importlib.resources import files
from pathlib import Path
from typing import Literal

from flask import Response, current_app, render_template, request, url_for
from flask_restful import Resource

from operations.openapi import TITLE, VERSION, document
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
    "docs.js",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
]
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Swagger UI draws with inline styles and icons in data: URLs; scripts come from files only.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


class Landing(Resource):
    """The way in."""

    @operation(Welcome, media_types=(JSON, HTML))
    def get(self) -> Response:
        """What there is and where: a page for browsers, else JSON."""
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
            )
        else:
            welcome = {"name": TITLE, "version": VERSION, "links": links, "databases": databases}
            response = Response(compact(welcome), mimetype=JSON)
        response.vary.add("Accept")
        response.headers["Cache-Control"] = "no-store"
        return response


class OpenApi(Resource):
    """The OpenAPI document."""

    @operation(Document)
    def get(self) -> Response:
        """The API in OpenAPI 3.1."""
        kept = current_app.extensions
        if "openapi" not in kept:
            kept["openapi"] = document(current_app)
        return Response(compact(kept["openapi"]), mimetype=JSON)


class Docs(Resource):
    """Swagger UI over the OpenAPI document."""

    @operation(None, media_types=(HTML,))
    def get(self) -> Response:
        """The documentation, to try out in a browser."""
        return _page("docs.html")


class Asset(Resource):
    """The files of the pages."""

    @operation(None, media_types=tuple(MEDIA_TYPES.values()))
    def get(self, name: AssetName) -> Response:
        """A style sheet, script or icon of the pages."""
        folder = SWAGGER_UI if name.startswith("swagger-ui") else OWN
        text = (folder / name).read_bytes()
        response = Response(text, mimetype=MEDIA_TYPES[Path(name).suffix])
        response.headers["Cache-Control"] = "public, max-age=3600"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.add_etag()
        return response.make_conditional(request)


def _page(template: str, **values: object) -> Response:
    response = Response(render_template(template, title=TITLE, version=VERSION, **values))
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
