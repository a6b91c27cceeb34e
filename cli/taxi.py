"""`flask taxi load`: taxi trips for the embedded database."""

from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup

from cli.help import examples
from cli.progress import ProgressBar
from settings import SettingsError

taxi_commands = AppGroup("taxi", help="Load trips into the embedded database.")


@taxi_commands.command(
    "load",
    short_help="Load Parquet files of trips.",
    epilog=examples("flask taxi load yellow_tripdata_2019-01.parquet"),
)
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option("--replace", is_flag=True, help="Delete all trips first.")
def load_taxi_trips(files: tuple[Path, ...], replace: bool) -> None:
    """Load Parquet FILEs of the taxi commission, of any year: all of them, or none.

    Skips files that are loaded already. The first load deletes the shipped sample.
    """
    from database.errors import NotConfigured
    from embedded.cluster import EmbeddedError

    try:
        cluster = current_app.extensions["databases"].cluster()
    except NotConfigured as error:
        raise click.ClickException(
            f"{error} flask taxi load supports the embedded database only: load trips"
            " into that database with its own tools, or unset its connection string."
        ) from error
    except (EmbeddedError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    # Imported here: Arrow imports slowly, and the container image does not contain it.
    from taxi.loader import LoadError, Progress, load

    with ProgressBar("Loading trips") as bar:

        def report(event: Progress | str) -> None:
            if isinstance(event, Progress):
                bar.update(event.rows, event.total_rows)
            else:
                bar.print(event)

        try:
            result = load(files, conninfo=cluster.conninfo(), replace=replace, report=report)
        except LoadError as error:
            raise click.ClickException(str(error)) from error
    if result.sample_removed:
        click.echo("Deleted the shipped sample.")
    if not result.loaded:
        click.echo("Nothing to load.")
        return
    rate = result.rows / max(result.seconds, 0.001)
    click.echo(f"Loaded {result.rows:,} rows in {result.seconds:.1f} s ({rate:,.0f} rows/s).")
