"""The application: `flask run`, `gunicorn app:app`, or `create_app(settings)` for one's own."""

import logging
import uuid

import click
from flask import Flask, Response, g
from flask_restful import Api

import cli
from databases import Databases
from resources.base import new_deadline
from resources.customer import Customer, Customers, NewCustomers
from resources.problems import problem_of
from resources.request_keys import KeyCleaner
from resources.shared_reads import SharedReads
from resources.taxidata import TaxiData, TaxiDataAmount, TaxiDataSummary
from settings import Settings, read_settings


class ProblemApi(Api):
    """flask-restful answers errors in a shape of its own unless it is told not to."""

    def handle_error(self, e: Exception) -> Response:
        return problem_of(e).response()


def create_app(settings: Settings | None = None) -> Flask:
    """A new application. Without `settings` they are read from the environment.

    Raises SettingsError, EmbeddedError or DriverMissing, each with one sentence.
    """
    settings = settings or read_settings()
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    app.config["REQUIRE_IF_MATCH"] = settings.require_if_match
    app.extensions["databases"] = Databases(settings, report=_say)
    app.extensions["key_cleaner"] = KeyCleaner(hours=settings.idempotency_key_hours)
    app.extensions["shared_reads"] = SharedReads(
        settings.local_dir / "shared-reads", ttl=settings.taxi_cache_seconds
    )
    app.cli.add_command(cli.sql_commands)
    app.cli.add_command(cli.taxi_commands)

    @app.before_request
    def begin() -> None:
        g.request_id = str(uuid.uuid4())
        g.deadline = new_deadline(settings.request_deadline_seconds)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        return response

    app.register_error_handler(Exception, lambda e: problem_of(e).response())
    _add_routes(ProblemApi(app))
    if _serves():
        app.extensions["databases"].open()
    return app


def _add_routes(api: Api) -> None:
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


def _serves() -> bool:
    """Whether this process answers requests; other `flask` commands start nothing unasked."""
    command = click.get_current_context(silent=True)
    return command is None or command.info_name == "run"


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


def __getattr__(name: str) -> Flask:
    # Made when a server asks for it, so that importing create_app starts no database.
    if name == "app":
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        globals()["app"] = create_app()
        return globals()["app"]
    raise AttributeError(name)
