"""Names that generated clients use: operation ids such as getCustomer and createOrder."""

import re
from collections.abc import Collection

_PATH_PARAMETER = re.compile(r"\{([^{}]*)\}")
_WRITES = {"post": "create", "patch": "update", "delete": "delete"}


def operation_id(method: str, path: str, *, is_list: bool) -> str:
    """The id of a Python resource's method on an OpenAPI path, as the catalog names its own.

    is_list: whether it returns an array.
    """
    nouns = [word for word in re.split(r"\W+", _PATH_PARAMETER.sub("", path)) if word]
    parameters = _PATH_PARAMETER.findall(path)
    # One item by its key needs no By…: /customer/{customer_id}.
    selectors = [p for p in parameters if not nouns or p != f"{nouns[-1]}_id"]
    item = bool(parameters) and not selectors
    if method == "get":
        verb = "list" if is_list and not item else "get"
    elif method == "put":
        verb = "replace" if parameters else "put"
    else:
        verb = _WRITES[method]
    words = [*nouns, *(["by", *selectors] if selectors else [])]
    return verb + "".join(map(_capitalized, "_".join(words).split("_")))


def component_name(operation: str, what: str, taken: Collection[str]) -> str:
    """A name for a schema under components, such as GetOrderRow, that is not in `taken`."""
    plain = re.sub(r"[^A-Za-z0-9_]", "", _capitalized(operation)) + what
    return unique(plain, taken)


def unique(name: str, taken: Collection[str]) -> str:
    """`name`, with a number behind it where `taken` has it."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}{number}", number + 1
    return found


def _capitalized(word: str) -> str:
    return word[:1].upper() + word[1:]
