"""The commands `flask sql …`, `flask taxi …`, `flask auth …`, `flask token` and others.

They parse arguments and print; the work is done in other rooms.
"""

from cli.auth import auth_commands
from cli.check import check_sql
from cli.openapi import openapi_command
from cli.procedures import procedures_command
from cli.sql import sql_commands
from cli.taxi import taxi_commands
from cli.token import token_command

sql_commands.add_command(check_sql)

__all__ = [
    "auth_commands",
    "openapi_command",
    "procedures_command",
    "sql_commands",
    "taxi_commands",
    "token_command",
]
