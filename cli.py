"""The commands `flask sql …`, `flask taxi …`, `flask auth …`, `flask token` and others.

They parse arguments and print; the work is done in other rooms.
"""

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from settings import TARGETS, SettingsError, Target, read_settings, variable_names

if TYPE_CHECKING:
    import pyodbc

    from catalog.operations import Catalog
    from catalog.procedure import Procedure

sql_commands = AppGroup("sql", help="Deploy and check the stored procedures.")
taxi_commands = AppGroup("taxi", help="Load taxi trips into the embedded database.")
auth_commands = AppGroup("auth", help="Create the credentials that AUTH requires.")

ROOT = Path(__file__).resolve().parent
# Where flask sql check looks for the contract.
LOCK_FILE = "procedures.lock.json"
# The folder of sql/ with a target's scripts, by the connected engine.
FOLDERS = {
    ("sqlserver", "WWIF"): "azure-sql",
    ("sqlserver", "TAXI"): "synapse",
    ("postgresql", "WWIF"): "postgresql",
    ("postgresql", "TAXI"): "postgresql",
}


@sql_commands.command("deploy")
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
    if not variables.get("AppName"):
        click.echo("No --app-name: skipping the scripts *grants*.sql.")
        skip += ("*grants*.sql",)
    found = _target(target)
    server = server_of(ConnectionString(found.connection_string))
    variables.setdefault("StorageSuffix", cloud_of(server).storage_suffix)
    connection = _open(found)
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


@sql_commands.command("create-database")
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
    connection = _open(replace(found, connection_string=str(given.replaced({key: "master"}))))
    try:
        created = create_database(connection, name)
    except pyodbc.Error as error:
        raise click.ClickException(f"Database {name} was not created: {error.args[-1]}") from error
    finally:
        connection.close()
    click.echo(f"Created database {name}." if created else f"Database {name} exists.")


@sql_commands.command("driver")
def show_sql_driver() -> None:
    """Print the ODBC driver for SQL Server that the API uses. Fails if none is installed."""
    from database.connect.drivers import DriverMissing, find_driver

    try:
        click.echo(find_driver("sqlserver"))
    except DriverMissing as error:
        raise click.ClickException(str(error)) from error


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


def _open(target: Target) -> "pyodbc.Connection":
    """A new connection to `target`, outside of the pool. Raises ClickException."""
    import pyodbc

    from database.connect.connection_string import ConnectionString
    from database.connect.drivers import Driver, DriverMissing, server_of
    from database.connect.tokens import TokenUnavailable, from_environment, pack
    from deploy.runner import open_when_resumed

    settings = read_settings()
    timeout = settings.login_timeout_seconds
    try:
        driver = Driver(target.connection_string, family=target.driver_family)
        if not driver.wants_token:
            return open_when_resumed(lambda: driver.connect(timeout), report=click.echo)
        server = server_of(ConnectionString(target.connection_string))
        tokens = from_environment(settings.identity, server=server)
        try:
            return open_when_resumed(
                lambda: driver.connect(timeout, token=pack(tokens.get(timeout=timeout).value)),
                report=click.echo,
            )
        finally:
            tokens.close()
    except TokenUnavailable as error:
        raise click.ClickException(_no_token(target, error)) from error
    except (DriverMissing, ValueError) as error:
        raise click.ClickException(f"{target.variable}: {error}") from error
    except pyodbc.Error as error:
        raise click.ClickException(
            f"{target.name} ({target.variable}) is unreachable: {_plain(error)}"
        ) from error


def _plain(error: "pyodbc.Error") -> str:
    """The driver's message on one line, without the bracketed prefixes and the codes at its end."""
    text = " ".join(str(error.args[-1]).split())
    return re.sub(r"^(\[[^]]*\] ?)+|( \(-?\d+\))? \(\w+\)$", "", text)


def _no_token(target: Target, error: Exception) -> str:
    return f"{error} Run az login, or set TOKEN, or add a user and a password to {target.variable}."


@sql_commands.command("run")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(True, path_type=Path)
)
@click.option("--target", metavar="NAME", required=True, help="Database, such as ERP or embedded.")
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A value for $(NAME)."
)
def run_sql(files: tuple[Path, ...], target: str, assignments: tuple[str, ...]) -> None:
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
    found = _served(target, role=OWNER)
    if found is None:
        names = ", ".join([EMBEDDED] if settings.embedded else settings.targets)
        raise click.ClickException(f"There is no database {target}; use one of: {names}.")
    connection = _open(found)
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

    Procedures then reach the tables of their schema, as ownership chaining allows on SQL Server.
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


@sql_commands.command("check")
@click.option("--target", metavar="NAME", help="The database; default: all.")
@click.option(
    *("--lock", "lock_file"),
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Contract of flask procedures --lock; else {LOCK_FILE} where it is.",
)
def check_sql(target: str | None, lock_file: Path | None) -> None:
    """List the objects and permissions that the routes require and a database lacks, and each
    change of a procedure that breaks the contract in the lock file.

    Connects as the API does, with its permissions. Fails if anything is missing.
    """
    import pyodbc

    from databases import EMBEDDED
    from deploy.required_objects import missing, policies
    from operations.required_objects import required_objects_of

    lacking = False
    procedures: dict[str, list[Procedure]] = {}
    own = set()  # databases that only the catalog uses
    for name in [target] if target else read_settings().database_names:
        found = _served(name)
        if found is None:
            click.echo(f"{name}: not configured.")
            lacking |= target is not None
            continue
        served = EMBEDDED if read_settings().embedded else name
        needs = required_objects_of(current_app, name)
        notes: list[str] = []
        try:
            connection = _open(found)
            try:
                sentences = missing(connection, needs)
                notes = policies(connection, needs)
                try:
                    procedures[served] = _read_procedures(connection, served)
                except pyodbc.Error as error:
                    sentences.append(f"its procedures could not be read: {error.args[-1]}")
            finally:
                connection.close()
        except pyodbc.Error as error:
            sentences = [f"the check failed: {error.args[-1]}"]
        except click.ClickException as error:
            sentences = [error.message]
        for sentence in [*sentences, *notes]:
            click.echo(f"{name}: {sentence}")
        if not (needs.procedures or needs.tables):
            own.add(served)
        elif not sentences:
            click.echo(
                f"{name}: {len(needs.procedures)} procedures, {len(needs.tables)} tables:"
                " all there, and allowed."
            )
        lacking |= bool(sentences)
    lacking |= _breaks_contract(procedures, own, lock_file)
    if lacking:
        click.get_current_context().exit(1)


def _breaks_contract(
    procedures: "dict[str, list[Procedure]]", own: set[str], lock_file: Path | None
) -> bool:
    """Compare the operations of what was read with the lock file, if there is one."""
    from catalog import CatalogError
    from catalog.contract_lock import breaking_changes

    try:
        found = _operations(procedures).operations
        for name in procedures:
            count = sum(operation.procedure.database == name for operation in found)
            if count or name in own:
                click.echo(f"{name}: {count} operations out of the catalog.")
        if lock_file is None and not (lock_file := ROOT / LOCK_FILE).exists():
            return False
        changes = breaking_changes(
            lock_file.read_text(encoding="utf-8"), found, databases=procedures.keys()
        )
    except CatalogError as error:
        changes = [str(error)]
    for change in changes:
        click.echo(change)
    return bool(changes)


def _operations(
    procedures: "dict[str, list[Procedure]]", keyed: set[str] | None = None
) -> "Catalog":
    """The operations of all databases together. Raises CatalogError for a conflict.

    keyed: the databases whose key table is usable; None: not known, and all are assumed.
    """
    from catalog.operations import build
    from operations.python_routes import python_routes

    listed = [procedure for found in procedures.values() for procedure in found]
    return build(listed, taken=python_routes(current_app), keyed=keyed)


def _read_procedures(connection: "pyodbc.Connection", name: str) -> "list[Procedure]":
    """The procedures of a database's exposed schemas. Raises pyodbc.Error."""
    from catalog import query_on
    from catalog.discovery import reader_of
    from database.dialects import dialect_of

    schemas = current_app.extensions["databases"].schemas_of(name)
    if not schemas:
        return []
    return reader_of(dialect_of(connection).name, name, schemas).read(query_on(connection))


def _read_catalog() -> "Catalog":
    """The catalog of every database that is served, with the rights of the API itself.

    Raises ClickException for a database that can't be read, or for two procedures of one route.
    """
    import pyodbc

    from catalog import CatalogError, query_on
    from catalog.statements import key_table_usable
    from database.dialects import dialect_of

    procedures = {}
    keyed = set()
    databases = current_app.extensions["databases"]
    for name in databases.names():
        if not databases.schemas_of(name):
            continue
        found = _served(name)
        assert found is not None, "a database of names() is served"
        connection = _open(found)
        try:
            procedures[name] = _read_procedures(connection, name)
            usable = key_table_usable(dialect_of(connection).name)
            if query_on(connection)(usable)[0][0]:
                keyed.add(name)
        except pyodbc.Error as error:
            raise click.ClickException(
                f"The procedures of {name} could not be read: {error.args[-1]}"
            ) from error
        finally:
            connection.close()
    try:
        return _operations(procedures, keyed)
    except CatalogError as error:
        raise click.ClickException(str(error)) from error


@click.command("procedures")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@click.option(
    *("--lock", "lock_file"),
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Write the contract to FILE, such as {LOCK_FILE}, for flask sql check.",
)
@with_appcontext
def procedures_command(*, as_json: bool, lock_file: Path | None) -> None:
    """Print the route of each procedure of EXPOSED_SCHEMAS, or the reason why it has none."""
    from catalog.contract_lock import lock
    from catalog.listing import document, table

    found = _read_catalog()
    if lock_file is not None:
        lock_file.write_text(lock(found.operations), encoding="utf-8")
        click.echo(f"Wrote {len(found.operations)} operations to {lock_file}.")
    elif as_json:
        click.echo(json.dumps(document(found), indent=2, ensure_ascii=False))
    else:
        for line in table(found):
            click.echo(line)


def _served(name: str, *, role: str | None = None) -> Target | None:
    """A served database, or None; starts the embedded database if it is the one.

    role: a role of the embedded database; default: the API's.
    """
    from databases import EMBEDDED
    from embedded.cluster import API_ROLE, EmbeddedError

    settings = read_settings()
    if not settings.embedded:
        return settings.targets.get(name)
    if name not in (EMBEDDED, *TARGETS):
        return None
    try:
        cluster = current_app.extensions["databases"].cluster()
    except (EmbeddedError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    return Target(name, "", cluster.connection_string(role=role or API_ROLE), "postgresql")


@click.command("token")
def token_command() -> None:
    """Print the credential that logs in to each database, and when its token expires.

    Fails if a token can't be acquired. Never prints the token itself.
    """
    from database.connect.connection_string import ConnectionStringError
    from database.connect.drivers import server_of, wants_token
    from database.connect.tokens import TokenUnavailable, from_environment
    from database.connect.translation import to_odbc

    settings = read_settings()
    failed = False
    for name in settings.database_names:
        target = settings.targets.get(name)
        if target is None:
            what = "the embedded database" if settings.embedded else "not configured"
            click.echo(f"{name}: {what}; no token needed.")
            continue
        try:
            given = to_odbc(target.connection_string, family=target.driver_family)
            if not wants_token(given, family=target.driver_family):
                click.echo(f"{name}: {target.variable} has its own login; no token needed.")
                continue
            tokens = from_environment(settings.identity, server=server_of(given))
        except (ConnectionStringError, ValueError) as error:
            click.echo(f"{name}: {target.variable}: {error}")
            failed = True
            continue
        try:
            # It logs a failure, which is printed below.
            logging.disable()
            token = tokens.get(timeout=settings.login_timeout_seconds)
            about = tokens.describe()
            click.echo(
                f"{name}: a token from {about['credential']} for {about['audience']},"
                f" expires {token.expiry()}."
            )
        except TokenUnavailable as error:
            click.echo(f"{name}: {_no_token(target, error)}")
            # From azure-identity's long message, only one line for each credential that it tried.
            for tried in re.findall(r"^\t(\w+: .*)$", str(error.__cause__), re.MULTILINE):
                click.echo(f"  {tried}")
            failed = True
        finally:
            logging.disable(logging.NOTSET)
            tokens.close()
    if failed:
        click.get_current_context().exit(1)


@auth_commands.command("new-key")
@click.argument("name")
@click.option("--groups", default="read", help="Comma-separated: read, write, operate.")
def new_api_key(name: str, groups: str) -> None:
    """Create an API key for NAME and print it once; the settings store only its digest."""
    from authentication.api_keys import HEADER, new_key, setting_line

    key = new_key()
    try:
        line = setting_line(name, re.findall(r"[^,+\s]+", groups), key)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{HEADER}: {key}", err=True)
    click.echo("Add this line to API_KEYS, separated by a comma from other keys:", err=True)
    click.echo(line)


@taxi_commands.command("load")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option("--replace", is_flag=True, help="Delete all trips first.")
def load_taxi_trips(files: tuple[Path, ...], replace: bool) -> None:
    """Load TLC Parquet FILEs of any year into the embedded database: all of them, or none.

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
    from tqdm import tqdm

    from taxi.loader import LoadError, Progress, load

    bar = tqdm(unit=" rows", unit_scale=True, delay=0.001, leave=False)

    def report(event: Progress | str) -> None:
        if isinstance(event, Progress):
            bar.total, bar.leave = event.total_rows, True
            bar.update(event.rows - bar.n)
        else:
            bar.write(event)

    try:
        result = load(files, conninfo=cluster.conninfo(), replace=replace, report=report)
    except LoadError as error:
        raise click.ClickException(str(error)) from error
    finally:
        bar.close()
    if result.sample_removed:
        click.echo("Deleted the shipped sample.")
    if not result.loaded:
        click.echo("Nothing to load.")
        return
    rate = result.rows / max(result.seconds, 0.001)
    click.echo(f"Loaded {result.rows:,} rows in {result.seconds:.1f} s ({rate:,.0f} rows/s).")


@click.command("openapi")
@click.option("--postman", is_flag=True, help="Print a Postman collection instead.")
@with_appcontext
def openapi_command(postman: bool) -> None:
    """Print the OpenAPI document of all routes, read from the databases now."""
    from operations.openapi import document
    from operations.postman import collection

    made = document(current_app, _read_catalog().operations)
    made = collection(made) if postman else made
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))
