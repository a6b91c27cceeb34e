"""Declares what a method of a resource takes and returns; requests are checked and documents made
from the declaration.

The signature is the declaration: `query` and `body` name schemas, every other parameter names the
type of a path parameter.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from operations.request_models import UNREADABLE
from protocol import validation
from protocol.fault_sentences import sentence
from protocol.formats import JSON
from protocol.problems import Problem


@dataclass(frozen=True)
class Operation:
    """One method of a resource. query and body: None without one.

    summary, description: the first line of the method's docstring, and the rest.
    answer: the type of the JSON body that is sent with `status` as one of `media_types`, None for
    a body that is not JSON. also: other statuses with the same body.
    tagged: one row with an entity tag, and preconditions on it.
    problems: slugs beyond those that follow from the rest.
    documented: False for pages and their assets, which no API document lists.
    private: True for an operation that is no tool of the Model Context Protocol.
    """

    summary: str
    description: str
    path: Mapping[str, Any]
    query: Any
    body: Any
    answer: Any
    status: int
    also: tuple[int, ...]
    media_types: tuple[str, ...]
    tagged: bool
    problems: tuple[str, ...]
    documented: bool
    private: bool


def operation(
    answer: Any,
    *,
    status: int = 200,
    also: tuple[int, ...] = (),
    media_types: tuple[str, ...] = (JSON,),
    tagged: bool = False,
    problems: tuple[str, ...] = (),
    documented: bool = True,
    private: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a method: it is called only with a valid path, `query` and `body`."""

    def declare(method: Callable[..., Any]) -> Callable[..., Any]:
        path = get_type_hints(method, include_extras=True)
        path.pop("return", None)
        query, body = path.pop("query", None), path.pop("body", None)
        validators = {name: TypeAdapter(kind).validator for name, kind in path.items()}
        summary, _, description = cleandoc(method.__doc__ or "").partition("\n")

        @functools.wraps(method)
        def checked(self: Any, **given: Any) -> Any:
            for name, value in given.items():
                try:
                    validators[name].validate_python(value)
                except ValidationError as error:
                    raise _refused_path(name, error) from None
            if query is not None:
                given["query"] = validation.query(query)
            if body is not None:
                given["body"] = validation.body(body)
            return method(self, **given)

        checked.operation = Operation(  # type: ignore[attr-defined]
            summary=summary,
            description=description.strip(),
            path=path,
            query=query,
            body=body,
            answer=answer,
            status=status,
            also=also,
            media_types=media_types,
            tagged=tagged,
            problems=problems,
            documented=documented,
            private=private,
        )
        return checked

    return declare


def _refused_path(name: str, error: ValidationError) -> Problem:
    fault = error.errors()[0]
    if fault["type"] == UNREADABLE:
        return Problem("invalid-path", f"{name} {sentence(fault)}.")
    # The value is well-formed, but outside of what any row can have.
    return Problem("not-found", f"There is no such {name.removesuffix('_id')}.")
