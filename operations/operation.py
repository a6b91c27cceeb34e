"""What a method of a resource takes and gives: declared once, checked, and documented from it.

The signature is the declaration: `query` and `body` name schemas, what else there is names the
type of a part of the path.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from protocol import validation
from protocol.formats import JSON
from protocol.problems import Problem


@dataclass(frozen=True)
class Operation:
    """One method of a resource. `summary` is its docstring's; None for what it does not take.

    answer: the type of what is answered with `status` as `media_types`, None for what is no JSON;
    also: other statuses with the same answer.
    tagged: single things with an entity tag, and preconditions on it.
    problems: slugs beyond those that follow from the rest.
    """

    summary: str
    path: Mapping[str, Any]
    query: Any
    body: Any
    answer: Any
    status: int
    also: tuple[int, ...]
    media_types: tuple[str, ...]
    tagged: bool
    problems: tuple[str, ...]


def operation(
    answer: Any,
    *,
    status: int = 200,
    also: tuple[int, ...] = (),
    media_types: tuple[str, ...] = (JSON,),
    tagged: bool = False,
    problems: tuple[str, ...] = (),
) -> Callable[[Callable], Callable]:
    """Declare a method: it is called with a checked path, `query` and `body`, or not at all."""

    def declare(method: Callable) -> Callable:
        path = get_type_hints(method, include_extras=True)
        path.pop("return", None)
        query, body = path.pop("query", None), path.pop("body", None)
        adapters = {name: TypeAdapter(kind) for name, kind in path.items()}

        @functools.wraps(method)
        def checked(self: Any, **given: Any) -> Any:
            for name, value in given.items():
                _check_path(adapters[name], name, value)
            if query is not None:
                given["query"] = validation.query(query)
            if body is not None:
                given["body"] = validation.body(body)
            return method(self, **given)

        checked.operation = Operation(
            summary=method.__doc__ or "",
            path=path,
            query=query,
            body=body,
            answer=answer,
            status=status,
            also=also,
            media_types=media_types,
            tagged=tagged,
            problems=problems,
        )
        return checked

    return declare


def _check_path(adapter: TypeAdapter, name: str, value: Any) -> None:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        fault = error.errors()[0]
        if fault["type"] == "string_pattern_mismatch":
            raise Problem("invalid-path", f"{name}: {fault['msg']}.") from None
        # It can be read, but nothing can have that number or name.
        raise Problem("not-found", f"There is no such {name.removesuffix('_id')}.") from None
