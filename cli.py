"""The product's commands, `flask sql …`, `flask taxi …`: they speak, other rooms do the work."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import AppGroup

from settings import TARGETS, read_settings, variable_names

if TYPE_CHECKING:
    import pyodbc

sql_commands = AppGroup("sql", help="Deploy and check the stored procedures.")
taxi_commands = AppGroup("taxi", help="Load taxi trips into the embedded default.")

ROOT = Path(__file__).resolve().parent
# Which folder of sql/ a target's scripts lie in, by what the engine calls itself.
FOLDERS = {
    ("sqlserver", "WWIF"): "azure-sql",
    ("sqlserver", "TAXI"): "synapse",
    ("postgresql", "WWIF"): "postgresql",
    ("postgresql", "TAXI"): "postgresql",
}


@sql_commands.command("deploy")
@click.option("--target", type=click.Choice(TARGETS), required=True, help="Which database.")
@click.option("--check", is_flag=True, help="List what would run; run nothing.")
@click.option("--app-name", metavar="NAME", help="Who gets the grants; without it nobody does.")
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A value for $(NAME)."
)
@click.option("--skip", multiple=True, metavar="PATTERN", help="Leave out scripts of this name.")
def deploy_sql(
    target: str,
    check: bool,
    app_name: str | None,
    assignments: tuple[str, ...],
    skip: tuple[str, ...],
) -> None:
    """Run the SQL scripts of a configured database, batch by batch; they may be run again."""
    from database.deployment import DeploymentError, deploy, plan
    from database.dialects import dialect_of

    variables = dict(_assignment(text) for text in assignments)
    if app_name:
        variables["AppName"] = app_name
    if not variables.get("AppName"):
        click.echo("No --app-name: the scripts *grants*.sql are left out.")
        skip += ("*grants*.sql",)
    connection = _connect(target)
    try:
        engine = dialect_of(connection).name
        folder = ROOT / "sql" / FOLDERS[engine, target]
        if check:
            steps = plan(folder, engine=engine, variables=variables, skip=skip)
            for step in steps:
                click.echo(f"would run {step}")
            click.echo(f"{len(steps)} batches, none of them run.")
            return
        count = deploy(connection, folder, variables=variables, report=click.echo, skip=skip)
        click.echo(f"Deployed sql/{folder.name} to {target}: {count} batches.")
    except DeploymentError as error:
        raise click.ClickException(str(error)) from error
    finally:
        connection.close()


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param_hint="--set")
    return name, value


def _connect(name: str) -> "pyodbc.Connection":
    """A connection of its own to WWIF or TAXI; a ClickException says why there is none."""
    import pyodbc

    from database.dialects import Driver, DriverMissing
    from database.tokens import TokenUnavailable, from_environment, pack

    settings = read_settings()
    if settings.embedded:
        raise click.ClickException(
            "No connection string is set; the embedded default runs its scripts when it starts."
        )
    target = settings.targets.get(name)
    if target is None:
        raise click.ClickException(f"Set the connection string: {', '.join(variable_names(name))}.")
    timeout = settings.login_timeout_seconds
    try:
        driver = Driver(target.connection_string, family=target.driver_family)
        if not driver.wants_token:
            return driver.connect(timeout)[0]
        tokens = from_environment(settings.identity)
        try:
            return driver.connect(timeout, token=pack(tokens.get(timeout=timeout).value))[0]
        finally:
            tokens.close()
    except (DriverMissing, TokenUnavailable, ValueError, pyodbc.Error) as error:
        raise click.ClickException(str(error.args[-1])) from error


@taxi_commands.command("load")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option("--replace", is_flag=True, help="Remove all trips first.")
def load_taxi_trips(files: tuple[Path, ...], replace: bool) -> None:
    """Load TLC Parquet FILEs of any year into the embedded default: all of them, or none.

    A file that is loaded already is left alone. The first file makes the shipped sample go.
    """
    # Here, because Arrow takes a while to import and no other command needs it.
    from tqdm import tqdm

    from database.embedded import EmbeddedError
    from database.errors import NotConfigured
    from database.taxi_loader import LoadError, Progress, load

    try:
        cluster = current_app.extensions["databases"].cluster()
    except NotConfigured as error:
        raise click.ClickException(
            f"{error} flask taxi load fills the embedded default only:"
            " load trips into that database with its own tools, or unset its connection string."
        ) from error
    except EmbeddedError as error:
        raise click.ClickException(str(error)) from error
    bar = tqdm(unit=" rows", unit_scale=True, delay=0.001, leave=False)

    def report(news: Progress | str) -> None:
        if isinstance(news, Progress):
            bar.total, bar.leave = news.total_rows, True
            bar.update(news.rows - bar.n)
        else:
            bar.write(news)

    try:
        result = load(files, psql=cluster.psql(), replace=replace, report=report)
    except LoadError as error:
        raise click.ClickException(str(error)) from error
    finally:
        bar.close()
    if result.sample_removed:
        click.echo("The shipped sample made room for real trips.")
    if not result.loaded:
        click.echo("Nothing new to load.")
        return
    rate = result.rows / max(result.seconds, 0.001)
    click.echo(f"Loaded {result.rows:,} rows in {result.seconds:.1f} s ({rate:,.0f} rows/s).")
