"""The routes that are written in Python, and the view of those from the catalog."""

from flask_restful import Api

from operations.catalog_routes import PROCEDURES
from protocol.authorization import MCP, METADATA
from resources.customer import Customer, Customers, NewCustomers
from resources.health import HealthLive, HealthReady
from resources.metrics import MetricsExposition
from resources.pages import Asset, Docs, Landing, OpenApi
from resources.passenger import Passengers
from resources.procedures import Procedures
from resources.status import Status, StatusFigures
from resources.taxidata import TaxiData, TaxiDataAmount, TaxiDataSummary
from settings import Settings


def add_sample_routes(api: Api) -> None:
    """Customers, taxi trips and passengers."""
    api.add_resource(Customer, "/customer/<int:customer_id>", endpoint="customer")
    api.add_resource(NewCustomers, "/customer", endpoint="new_customers")
    api.add_resource(Customers, "/customers", endpoint="customers")
    api.add_resource(TaxiData, "/taxidata", "/taxidataall", endpoint="taxidata")
    api.add_resource(TaxiDataSummary, "/taxidata/summary", endpoint="taxidata_summary")
    api.add_resource(
        TaxiDataAmount,
        *("/taxidata/<amount>", "/taxidataprice/<amount>", "/taxidateprice/<amount>"),
        endpoint="taxidata_amount",
    )
    api.add_resource(Passengers, "/passengers", endpoint="passengers")


def add_routes(api: Api) -> None:
    """The routes of every server: its state, its documents and its pages."""
    api.add_resource(HealthLive, "/health/live", endpoint="health_live")
    api.add_resource(HealthReady, "/health/ready", endpoint="health_ready")
    api.add_resource(Landing, "/", endpoint="landing")
    api.add_resource(OpenApi, "/openapi.json", endpoint="openapi")
    api.add_resource(Docs, "/docs", endpoint="docs")
    api.add_resource(Asset, "/assets/<name>", endpoint="asset")
    api.add_resource(MetricsExposition, "/metrics", endpoint="metrics")
    api.add_resource(Status, "/status", endpoint="status")
    api.add_resource(StatusFigures, "/status.json", endpoint="status_figures")
    # A view without a URL rule: dispatch_request calls it for paths that match no rule.
    api.app.view_functions[PROCEDURES] = api.output(Procedures.as_view(PROCEDURES))


def add_mcp(api: Api, settings: Settings) -> None:
    """The Model Context Protocol, and where its clients find the authorization server."""
    # Imported here, because its types take longer to import than Flask.
    from operations.tools import LiveTools
    from resources.mcp import Mcp
    from resources.mcp_metadata import McpMetadata

    api.app.config["MCP_RESULT_BYTES"] = settings.mcp_result_bytes
    api.app.config["MCP_TTL_MS"] = int(1000 * settings.catalog_seconds)
    api.app.extensions["tools"] = LiveTools(api.app)
    api.add_resource(Mcp, MCP, endpoint="mcp")
    if "oidc" in (settings.auth or ()):
        document = {
            "authorization_servers": [settings.oidc_issuer],
            "bearer_methods_supported": ["header"],
            **({"scopes_supported": list(settings.oidc_scopes)} if settings.oidc_scopes else {}),
        }
        api.add_resource(
            McpMetadata,
            *(METADATA, METADATA + MCP),
            endpoint="mcp_metadata",
            resource_class_kwargs={"document": document},
        )
