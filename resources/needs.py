"""What the routes of an app need of a database, as their resources declare it."""

from flask import Flask

from deploy.required_objects import RequiredObjects
from protocol.key_cleaner import PROCEDURE as DELETE_EXPIRED_REQUESTS
from resources.passenger import installed


def required_objects_of(app: Flask, database: str) -> RequiredObjects:
    """What the routes registered on `app` need of `database`, "WWIF" or "TAXI"."""
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
        if installed():
            tables.update(getattr(resource, "tables", ()))
    return RequiredObjects(procedures, frozenset(tables))
