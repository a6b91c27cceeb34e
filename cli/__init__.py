"""The commands `flask doctor`, `flask sql …`, `flask taxi …`, `flask auth …` and others.

They parse arguments and print; the work is done in other rooms.
"""

import sys

import click
from flask import Flask

from cli.auth import auth_commands
from cli.check import check_sql
from cli.doctor import doctor_command
from cli.help import Commands, prints_help
from cli.openapi import openapi_command
from cli.procedures import procedures_command
from cli.sql import sql_commands
from cli.taxi import taxi_commands
from cli.token import token_command

__all__ = ["install", "requires_settings"]

sql_commands.add_command(check_sql)
COMMANDS = (
    *(doctor_command, procedures_command, openapi_command),
    *(sql_commands, taxi_commands, auth_commands, token_command),
)


def install(app: Flask) -> None:
    """Give `app` the commands, in place of those that it has."""
    app.cli = Commands(app.name)
    for command in COMMANDS:
        app.cli.add_command(command)


def requires_settings() -> bool:
    """Whether this process can't work with a wrong setting: help and `flask doctor` can."""
    if click.get_current_context(silent=True) is None:
        return True
    diagnoses = sys.argv[1:2] == [doctor_command.name]
    return not (diagnoses or prints_help())
