"""NDJSON: the numbers of a column are alike, and nothing else changes."""

import json

import pytest

from protocol.formats import alike

FARES = alike(["fare", 'a "quoted" name'])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ('{"fare":5,"id":5}', '{"fare":5.0,"id":5}'),
        ('{"id":5,"fare":-12}', '{"id":5,"fare":-12.0}'),
        ('{"fare":5.76}', '{"fare":5.76}'),
        ('{"fare":5e3}', '{"fare":5e3}'),
        ('{"fare":null}', '{"fare":null}'),
        ('{"the fare":5}', '{"the fare":5}'),
        (r'{"a \"quoted\" name":5}', r'{"a \"quoted\" name":5.0}'),
        ('{"fare":1}\n{"fare":2.5}\n', '{"fare":1.0}\n{"fare":2.5}\n'),
    ],
)
def test_whole_numbers_of_a_float_column_get_a_point(row: str, expected: str) -> None:
    assert FARES(row) == expected


def test_a_text_that_looks_like_a_member_stays_as_it_is() -> None:
    row = json.dumps({"comment": 'said "fare":5, then left', "fare": 5}, separators=(",", ":"))
    assert json.loads(FARES(row)) == {"comment": 'said "fare":5, then left', "fare": 5.0}


def test_without_a_float_column_the_text_is_returned_unchanged() -> None:
    assert alike([])('{"id":5}') == '{"id":5}'
