"""The sentence a client gets for each fault that pydantic finds, with the limits of the value."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic_core.core_schema import ErrorType

_WHOLE_NUMBER = "must be a whole number"
_DATETIME = "must be a date and time that exists, such as 2019-01-31T13:34:15"
_OBJECT = "must be a JSON object"
# By pydantic's error type; the names in braces are those of its context.
_SENTENCES = {
    "missing": "is required",
    "extra_forbidden": "is unknown; remove it",
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
_UNFORESEEN = "is invalid"


def sentence(fault: Mapping[str, Any]) -> str:
    """What `fault`, one of ValidationError.errors(), means to a client; never pydantic's own words.

    A PydanticCustomError of a schema is a sentence already.
    """
    kind = fault["type"]
    if kind not in _OF_PYDANTIC:
        return fault["msg"]
    return _SENTENCES.get(kind, _UNFORESEEN).format_map(fault.get("ctx", {}))
