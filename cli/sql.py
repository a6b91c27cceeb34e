"""`flask sql deploy`, `create-database`, `driver` and `run`: scripts of a database."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click
from flask import current_app
from flask.cli import AppGroup

from cli.connections import open_database, served_target
from cli.help import examples
from settings import TARGETS, Target, read_settings, variable_names

if TYPE_CHECKING:
    import pyodbc

sql_commands = AppGroup("sql", help="Deploy, check and run SQL scripts.")
ROOT = Path(__file__).resolve().parent.parent
# The folder of sql/ with a target's scripts, by the connected engine.
FOLDERS = {
    ("sqlserver", "WWIF"): "azure-sql",
    ("sqlserver", "TAXI"): "synapse",
    ("postgresql", "WWIF"): "postgresql",
    ("postgresql", "TAXI"): "postgresql",
}


@sql_commands.command(
    "deploy",
    short_help="Run the project's SQL scripts in a database.",
    epilog=examples(
        "flask sql deploy --target WWIF --app-name my-web-app --sample",
        "flask sql deploy --target ERP --keys --app-name my-web-app",
        "flask sql deploy --target TAXI --check",
    ),
)
@click.option(
    "--target", metavar="NAME", required=True, help="Database: WWIF, TAXI; any with --keys."
)
@click.option("--keys", is_flag=True, help="Run sql/keys/ only: the table of idempotency keys.")
@click.option("--check", is_flag=True, help="List the batches without running them.")
@click.option("--app-name", metavar="NAME", help="User that gets the grants; default: no grants.")
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A value for $(NAME)."
)
@click.option("--skip", multiple=True, metavar="PATTERN", help="Skip scripts with such a name.")
@click.option(
    "--app-object-id", type=click.UUID, help="Entra object id of --app-name's managed identity."
)
@click.option(
    "--app-client-id", type=click.UUID, help="Its client id; a user with another id is replaced."
)
@click.option("--sample", is_flag=True, help="WWIF: fill empty tables with the shipped sample.")
def deploy_sql(
    *,
    target: str,
    check: bool,
    app_name: str | None,
    assignments: tuple[str, ...],
    skip: tuple[str, ...],
    app_object_id: UUID | None,
    app_client_id: UUID | None,
    sample: bool,
    keys: bool,
) -> None:
    """Run the SQL scripts of a configured database, batch by batch. Idempotent: may be repeated."""
    import pyodbc

    from database.connect.connection_string import ConnectionString
    from database.connect.credentials import cloud_of
    from database.connect.drivers import server_of
    from database.dialects import dialect_of
    from deploy import DeploymentError
    from deploy.required_objects import policies
    from deploy.runner import deploy
    from deploy.sample_rows import fill_empty
    from deploy.scripts import plan
    from operations.required_objects import required_objects_of

    _check_scripts(target, keys=keys, sample=sample)
    variables = dict(_assignment(text) for text in assignments)
    if app_name:
        variables["AppName"] = app_name
    elif app_object_id or app_client_id:
        raise click.BadParameter("Add --app-name.", param_hint="--app-object-id, --app-client-id")
    found = _target(target)
    if not variables.get("AppName"):
        click.echo("No --app-name: skipping the scripts *grants*.sql.")
        skip += ("*grants*.sql",)
    server = server_of(ConnectionString(found.connection_string))
    variables.setdefault("StorageSuffix", cloud_of(server).storage_suffix)
    connection = open_database(found)
    try:
        engine = dialect_of(connection).name
        folder = ROOT / "sql" / (f"keys/{engine}" if keys else FOLDERS[engine, target])
        if check:
            steps = plan(folder, engine=engine, variables=variables, skip=skip)
            for step in steps:
                click.echo(f"would run {step}")
            click.echo(f"{len(steps)} batches; none was run.")
            return
        if engine == "sqlserver" and app_name:
            _prepare_user(connection, app_name, app_object_id, app_client_id)
        count = deploy(connection, folder, variables=variables, report=click.echo, skip=skip)
        scripts = folder.relative_to(ROOT).as_posix()
        click.echo(f"Deployed {scripts} to {target}: {count} batches.")
        for sentence in policies(connection, required_objects_of(current_app, target)):
            click.echo(sentence)
        if sample:
            fill_empty(connection, report=click.echo)
    except pyodbc.Error as error:
        raise click.ClickException(f"The sample was not loaded: {error.args[-1]}") from error
    except DeploymentError as error:
        raise click.ClickException(str(error)) from error
    finally:
        connection.close()


def _check_scripts(target: str, *, keys: bool, sample: bool) -> None:
    """Raises BadParameter where sql/ has no such scripts."""
    if not keys and target not in TARGETS:
        raise click.BadParameter(
            f"{target} has no scripts: use {' or '.join(TARGETS)}, or add --keys.",
            param_hint="--target",
        )
    if sample and (keys or target != "WWIF"):
        raise click.BadParameter(
            "Only WWIF has a sample: use --target WWIF.", param_hint="--sample"
        )


@sql_commands.command(
    "create-database",
    short_help="Create the database of a connection string.",
    epilog=examples("flask sql create-database --target TAXI"),
)
@click.option("--target", type=click.Choice(TARGETS), required=True, help="The database.")
def create_sql_database(target: str) -> None:
    """Create the database of a SQL Server connection string, unless it exists.

    For Synapse serverless, where only SQL can create databases. The collation is a UTF-8 one.
    """
    import pyodbc

    from database.connect.connection_string import ConnectionString
    from database.provisioning import create_database

    found = _target(target)
    given = ConnectionString(found.connection_string)
    name = given.get("DATABASE", "INITIAL CATALOG")
    if found.driver_family != "sqlserver" or not name:
        raise click.ClickException(
            f"{found.variable} names no SQL Server database: add Database=NAME."
        )
    key = "DATABASE" if given.get("DATABASE") else "INITIAL CATALOG"
    connection = open_database(
        replace(found, connection_string=str(given.replaced({key: "master"})))
    )
    try:
        created = create_database(connection, name)
    except pyodbc.Error as error:
        raise click.ClickException(f"Database {name} was not created: {error.args[-1]}") from error
    finally:
        connection.close()
    click.echo(f"Created database {name}." if created else f"Database {name} exists.")


@sql_commands.command(
    "driver",
    short_help="Print the ODBC driver for SQL Server.",
    epilog=examples("flask sql driver"),
)
def show_sql_driver() -> None:
    """Print the ODBC driver for SQL Server that the API uses. Fails if none is installed."""
    from database.connect.drivers import DriverMissing, find_driver

    try:
        click.echo(find_driver("sqlserver"))
    except DriverMissing as error:
        raise click.ClickException(str(error)) from error


@sql_commands.command(
    "run",
    short_help="Run SQL files of your own in a database.",
    epilog=examples(
        "flask sql run orders.sql --target embedded",
        "flask sql run api.sql --target ERP --set AppName=my-web-app",
    ),
)
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(True, path_type=Path)
)
@click.option(
    "--target", metavar="NAME", help="Database, such as ERP or embedded; default: the only one."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A value for $(NAME)."
)
def run_sql(files: tuple[Path, ...], target: str | None, assignments: tuple[str, ...]) -> None:
    """Run SQL FILEs in a database, batch by batch, in the given order; stop at the first error.

    Without a connection string NAME is embedded, and the API gets the rights to the schemas of
    EXPOSED_SCHEMAS. In every other database the files must grant them.
    """
    import pyodbc

    from databases import EMBEDDED
    from deploy import DeploymentError
    from deploy.runner import run_scripts
    from embedded.cluster import OWNER

    settings = read_settings()
    names = [EMBEDDED] if settings.embedded else list(settings.targets)
    if target is None and len(names) > 1:
        raise click.UsageError(f"Add --target with one of: {', '.join(names)}.")
    target = target or names[0]
    found = served_target(target, role=OWNER)
    if found is None:
        raise click.ClickException(
            f"There is no database {target}; use one of: {', '.join(names)}."
        )
    connection = open_database(found)
    try:
        count = run_scripts(
            connection,
            files,
            variables=dict(_assignment(text) for text in assignments),
            report=click.echo,
        )
        if settings.embedded:
            _open_to_the_api(connection)
    except DeploymentError as error:
        raise click.ClickException(str(error)) from error
    except pyodbc.Error as error:
        raise click.ClickException(str(error.args[-1])) from error
    finally:
        connection.close()
    click.echo(f"Ran {count} batches in {target}.")


def _open_to_the_api(connection: "pyodbc.Connection") -> None:
    """Grant the API's role the exposed schemas of the embedded default.

    Like ownership chaining on SQL Server, so that procedures can use the tables of their schema.
    The sample's own schemas keep the grants of their scripts.
    """
    from databases import EMBEDDED
    from embedded.cluster import API_ROLE

    exposed = current_app.extensions["databases"].schemas_of(EMBEDDED)
    there = "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname = ? AND nspname NOT IN"
    for name in exposed:
        for (schema,) in connection.execute(f"{there} ('web', 'dbo', 'sales')", name).fetchall():
            for right in (
                *("USAGE ON SCHEMA", "EXECUTE ON ALL ROUTINES IN SCHEMA"),
                "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA",
                "USAGE ON ALL SEQUENCES IN SCHEMA",
            ):
                connection.execute(f'GRANT {right} {schema} TO "{API_ROLE}"').close()
            click.echo(f"The API may use the schema {schema}.")


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is invalid: write NAME=VALUE.", param_hint="--set")
    return name, value


def _target(name: str) -> Target:
    """WWIF or TAXI as configured, else a ClickException."""
    settings = read_settings()
    if settings.embedded:
        raise click.ClickException(
            "No connection string is set; the embedded database runs its scripts when it starts."
        )
    target = settings.targets.get(name)
    if target is None:
        raise click.ClickException(f"Set the connection string: {', '.join(variable_names(name))}.")
    return target


def _prepare_user(
    connection: "pyodbc.Connection", name: str, object_id: UUID | None, client_id: UUID | None
) -> None:
    import pyodbc

    from database.provisioning import prepare_user

    try:
        prepare_user(connection, name, object_id=object_id, client_id=client_id, report=click.echo)
    except pyodbc.Error as error:
        raise click.ClickException(f"User {name}: {error.args[-1]}") from error
