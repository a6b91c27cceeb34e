#!/usr/bin/env python3
"""Writes docs/settings.md and .env.example from the declarations in settings/declaration.py.

Run as `.venv/bin/python scripts/settings_docs.py` after a change of settings.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from settings import PREFIXES, SETTINGS  # noqa: E402 (the script's own folder comes first)

PAGE = """\
# Settings

Written by `scripts/settings_docs.py` from `settings/declaration.py`.

Settings are environment variables, or lines of a file `.env`; [.env.example](../.env.example) \
has all of them with their defaults. A variable of the environment wins over a line of the file. \
An invalid value stops the start with a sentence that says what to set.

## Connection strings

A connection string is a variable whose name starts with a prefix of App Service, followed by the \
name of the database (letters, digits and underscores). The prefixes are {prefixes}. The sample's \
databases are `WWIF` (customers, passengers) and `TAXI` (trips); the sample's routes are served \
when one of them is set, or when no connection string is set (then the embedded PostgreSQL \
serves them).

| variable | what |
|---|---|
| `SQLAZURECONNSTR_<NAME>`, `SQLCONNSTR_<NAME>` | a database on Azure SQL, SQL Server or Azure \
Synapse |
| `POSTGRESQLCONNSTR_<NAME>` | a database on PostgreSQL |
| `CUSTOMCONNSTR_<NAME>` | either; PostgreSQL if the text names it |
| `<PREFIX><NAME>_REPLICA` | replicas of that database, which serve its reads; several joined by \
`|` ([scaling](scaling.md)) |
| `TOKEN` | an access token for SQL Server, used as it is |
| `AZURE_CLIENT_ID` | the client id of a user-assigned managed identity |
| `WEB_CONCURRENCY` | gunicorn's number of processes |

## All other settings

| setting | default | unit | what |
|---|---|---|---|
{rows}
"""
EXAMPLE = """\
# Written by scripts/settings_docs.py from settings/declaration.py. Copy this file to .env and
# change what you need. A variable of the environment wins over a line here. Without a connection
# string the API serves the sample from its own embedded PostgreSQL.

# One connection string for the customers (WWIF) and one for the taxi trips (TAXI), each under one
# of these names. Without a user in it, SQL Server is reached with an access token.
#SQLAZURECONNSTR_WWIF=Server=tcp:<server>.database.windows.net,1433;Database=<database>;Encrypt=yes
#SQLAZURECONNSTR_TAXI=Server=tcp:<workspace>-ondemand.sql.azuresynapse.net,1433;Database=<database>;\
Encrypt=yes
#SQLCONNSTR_WWIF=
#SQLCONNSTR_TAXI=
#POSTGRESQLCONNSTR_WWIF=Server=<server>;Port=5432;Database=<database>;UID=<user>;PWD=<password>
#POSTGRESQLCONNSTR_TAXI=
#CUSTOMCONNSTR_WWIF=
#CUSTOMCONNSTR_TAXI=
# A database of your own: any other name after a prefix.
#SQLCONNSTR_ERP=Server=<server>;Database=<database>;UID=<user>;PWD=<password>
# Its replicas, which serve its reads; several are joined by |.
#SQLCONNSTR_ERP_REPLICA=Server=<replica>;Database=<database>;UID=<user>;PWD=<password>

# An access token for SQL Server, for machines where azure-identity finds no credential.
#TOKEN=
# The client id of a user-assigned managed identity.
#AZURE_CLIENT_ID=

"""


def page() -> str:
    """The text of docs/settings.md."""
    rows = (f"| `{s.name}` | {s.default or 'not set'} | {s.unit} | {s.help} |" for s in SETTINGS)
    prefixes = ", ".join(f"`{prefix}`" for prefix in PREFIXES)
    return PAGE.format(prefixes=prefixes, rows="\n".join(rows))


def example() -> str:
    """The text of .env.example."""
    return EXAMPLE + "".join(f"# {s.help} ({s.unit})\n{s.name}={s.default}\n" for s in SETTINGS)


if __name__ == "__main__":
    (ROOT / "docs" / "settings.md").write_text(page(), encoding="utf-8")
    (ROOT / ".env.example").write_text(example(), encoding="utf-8")
