"""`flask openapi`: the OpenAPI document and the Postman collection."""

import json

import click
from flask import current_app
from flask.cli import with_appcontext


@click.command("openapi")
@click.option("--postman", is_flag=True, help="As a Postman collection.")
@with_appcontext
def openapi_command(postman: bool) -> None:
    """Print the OpenAPI document of the routes."""
    from operations.openapi import document
    from operations.postman import collection

    made = document(current_app)
    made = collection(made) if postman else made
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))
