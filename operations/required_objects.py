"""The procedures and tables that the routes of an app require of a database."""

from flask import Flask

from deploy.required_objects import RequiredObjects
from protocol.key_cleaner import PROCEDURE as DELETE_EXPIRED_REQUESTS


def required_objects_of(app: Flask, database: str) -> RequiredObjects:
    """The objects that the resources registered on `app` declare for `database`."""
    procedures: dict[str, bool] = {}
    tables: set[str] = set()
    for view in app.view_functions.values():
        resource = getattr(view, "view_class", None)
        if getattr(resource, "database", None) != database:
            continue
        declared = getattr(resource, "procedures", {})
        for procedure in declared.values():
            procedures[procedure.name] = procedures.get(procedure.name, False) or procedure.streams
        if declared.keys() - {"get"}:
            procedures[DELETE_EXPIRED_REQUESTS] = False
        tables.update(getattr(resource, "tables", ()))
    return RequiredObjects(procedures, frozenset(tables))
