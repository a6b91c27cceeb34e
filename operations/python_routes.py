"""The routes of an app's Python resources, which come before those of the catalog."""

from flask import Flask

from catalog.operation import shape_of


def python_routes(app: Flask) -> dict[tuple[str, str], str]:
    """The name of the resource behind each (method, shape), as Operation.shape has them.

    A view class whose `from_catalog` is true serves the catalog's own operations.
    """
    found: dict[tuple[str, str], str] = {}
    for rule in app.url_map.iter_rules():
        resource = getattr(app.view_functions[rule.endpoint], "view_class", None)
        if getattr(resource, "from_catalog", False):
            continue
        name = resource.__name__ if resource else rule.endpoint
        for method in rule.methods or ():
            found[method, shape_of(rule.rule)] = name
    return found
