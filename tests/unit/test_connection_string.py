"""Connection strings by the rules of [MS-ODBCSTR]: parsing restores what was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database.connect.connection_string import ConnectionString, ConnectionStringError

KEYS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ -", min_size=1).filter(
    lambda k: k.strip() == k
)
VALUES = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
SECRETS = ["secret", "}", "{", "a}b;c", "}}", "{x}", ";", "=", " a ", "a{b", 'a"b', "é👍", ""]


@given(values=st.dictionaries(KEYS, VALUES, max_size=6))
def test_a_written_string_is_parsed_to_the_same_values(values):
    text = str(ConnectionString("").with_defaults(values))
    read = ConnectionString(text)
    assert {key: read.get(key) for key in values} == values
    assert str(read) == text


@pytest.mark.parametrize("value", SECRETS)
def test_a_value_in_braces_may_contain_any_character(value):
    quoted = value.replace("}", "}}")
    read = ConnectionString(f"SERVER=a;PWD={{{quoted}}};DATABASE=b")
    assert (read.get("SERVER"), read.get("PWD"), read.get("DATABASE")) == ("a", value, "b")


@pytest.mark.parametrize("value", SECRETS)
def test_a_value_cannot_become_another_attribute(value):
    read = ConnectionString(str(ConnectionString("A=1").with_defaults({"PWD": value})))
    assert read.get("PWD") == value
    assert repr(read) == "<ConnectionString of A, PWD>"


def test_keys_are_case_insensitive_and_the_first_present_key_counts():
    read = ConnectionString("Server=a; uid = b ;")
    assert read.get("SERVER") == read.get("server") == "a"
    assert read.get("USER", "UID") == "b"
    assert read.get("PWD") is None


def test_of_duplicate_keys_the_first_counts():
    assert ConnectionString("Server=a;SERVER=b").get("server") == "a"


def test_defaults_add_absent_keys_and_change_no_other():
    given = ConnectionString("encrypt=no;SERVER=a")
    assert str(given.with_defaults({"Encrypt": "yes", "APP": "x"})) == "ENCRYPT=no;SERVER=a;APP=x"
    assert given.get("APP") is None


@pytest.mark.parametrize("text", ["", " ", ";", ";;", "A=1;;", ";A=1", "A=1 ; "])
def test_stray_semicolons_and_blanks_do_not_matter(text):
    assert str(ConnectionString(text)) in ("", "A=1")


@pytest.mark.parametrize(
    "text",
    ["secret", "A=1;secret", "A={secret", "=secret", "A=1;{secret}=2", "A={secret}x"],
)
def test_an_invalid_connection_string_is_refused_without_its_values(text):
    with pytest.raises(ConnectionStringError) as raised:
        ConnectionString(text)
    assert "secret" not in str(raised.value)
    assert "KEY=value" in str(raised.value)


def test_its_representation_shows_no_value():
    assert "secret" not in repr(ConnectionString("SERVER=secret;PWD=secret"))
