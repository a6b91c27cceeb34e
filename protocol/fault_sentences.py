"""Sentences for clients about the faults that pydantic finds in a value."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic_core.core_schema import ErrorType

UNKNOWN = "is unknown; remove it"
_WHOLE_NUMBER = "must be a whole number"
_DATETIME = "must be a date and time that exists, such as 2019-01-31T13:34:15"
_OBJECT = "must be a JSON object"
# By pydantic's error type; the names in braces come from the error's context.
_SENTENCES = {
    "missing": "is required",
    "extra_forbidden": UNKNOWN,
    "string_type": "must be a string",
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "datetime_type": _DATETIME,
    "datetime_parsing": _DATETIME,
    "datetime_from_date_parsing": _DATETIME,
    "datetime_object_invalid": _DATETIME,
    "timezone_naive": "must have no time zone",
    "list_type": "must be a JSON array",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have at most {max_length} items",
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
}
_OF_PYDANTIC = frozenset(get_args(ErrorType))
_FALLBACK = "is invalid"


def sentence(fault: Mapping[str, Any]) -> str:
    """The sentence for `fault`, one of ValidationError.errors(), without pydantic's own text.

    The message of a PydanticCustomError is a sentence already.
    """
    kind = fault["type"]
    if kind not in _OF_PYDANTIC:
        return str(fault["msg"])
    return _SENTENCES.get(kind, _FALLBACK).format_map(fault.get("ctx", {}))
