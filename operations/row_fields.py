"""The fields of a list's rows, by which CSV has its columns and Arrow its types."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, NaiveDatetime


def row_fields(model: type[BaseModel], names: Iterable[str] | None = None) -> dict[str, Any]:
    """The type of each field of `model` by name: int, float, bool, str, datetime, or a dict of
    the same kind for an object. names: the fields to take, in this order; default: all."""
    declared = model.model_fields
    return {name: _kind(declared[name].annotation) for name in names or declared}


def _kind(annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin is Literal:
        return type(get_args(annotation)[0])
    if origin is not None:  # a union with None
        return _kind(next(kind for kind in get_args(annotation) if kind is not type(None)))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return row_fields(annotation)
    return datetime if annotation is NaiveDatetime else annotation
