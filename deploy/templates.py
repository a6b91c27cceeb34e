"""Fills the templates `$(Name)` of a script, the syntax of sqlcmd.

Unlike sqlcmd's, a value can't leave the literal or identifier that it is inserted into.
"""

import re
from collections.abc import Mapping

from deploy import DeploymentError
from deploy.lexer import CLOSERS, pieces

_VARIABLE = re.compile(r"\$\((\w+)\)")
_IDENTIFIER_LENGTH = {"sqlserver": 128, "postgresql": 63}


def fill(text: str, variables: Mapping[str, str], *, engine: str = "sqlserver") -> str:
    """`text` with each `$(Name)` replaced by its value, quoted for its position.

    Inside '…', […] or "…" the closing sign is doubled; in code the value becomes a quoted
    identifier; comments stay as they are. engine: "sqlserver" or "postgresql".
    Raises DeploymentError for a variable without a value and for an unusable value.
    """
    filled, end = [], 0
    for kind, start, stop in pieces(text, engine):
        for found in _VARIABLE.finditer(text, start, stop):
            if kind == "comment":
                continue
            value = _quoted(found[1], variables, kind=kind, engine=engine)
            filled += [text[end : found.start()], value]
            end = found.end()
    return "".join(filled) + text[end:]


def _quoted(name: str, variables: Mapping[str, str], *, kind: str, engine: str) -> str:
    value = variables.get(name, "")
    if not value:
        raise DeploymentError(f"$({name}) has no value: add --set {name}=….")
    if not value.isprintable():
        raise DeploymentError(f"$({name})={value!r} is invalid: remove the unprintable character.")
    if engine == "postgresql" and "$" in value:
        # It could end the dollar-quoted body that the template is in.
        raise DeploymentError(f"$({name})={value!r} has a $, which is not supported on PostgreSQL.")
    opener = kind
    if kind in ("code", "dollar"):
        opener = '"' if engine == "postgresql" else "["
    closer = CLOSERS[opener]
    longest = _IDENTIFIER_LENGTH[engine]
    if opener != "'" and len(value) > longest:
        raise DeploymentError(
            f"The value of $({name}) is longer than a name: use {longest} or less."
        )
    value = value.replace(closer, closer * 2)
    return value if opener == kind else opener + value + closer
