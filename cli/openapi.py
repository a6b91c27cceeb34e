"""`flask openapi`: the OpenAPI document and the Postman collection."""

import json

import click
from flask import current_app
from flask.cli import with_appcontext

from cli.catalogs import read_catalog
from cli.help import examples


@click.command(
    "openapi",
    short_help="Print the OpenAPI document, or a Postman collection.",
    epilog=examples("flask openapi > openapi.json", "flask openapi --postman > collection.json"),
)
@click.option("--postman", is_flag=True, help="Print a Postman collection instead.")
@with_appcontext
def openapi_command(postman: bool) -> None:
    """Print the OpenAPI document of all routes, read from the databases now."""
    from operations.openapi import document
    from operations.postman import collection

    made = document(current_app, read_catalog().operations)
    made = collection(made) if postman else made
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))
