"""GO lines and templates: what separates batches, and what a value can never break out of."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import DeploymentError
from deploy.scripts import Batch, plan, scripts, split_batches
from deploy.templates import fill


def texts(script: str) -> list[str]:
    return [batch.sql for batch in split_batches(script)]


@pytest.mark.parametrize(
    "separator", ["GO", "go", "Go", "gO", "GO ", "GO \t", "  GO", "\tGO", "GO -- end", "GO /* */"]
)
def test_a_go_line_separates_batches(separator):
    assert texts(f"SELECT 1\n{separator}\nSELECT 2\n") == ["SELECT 1", "SELECT 2"]


def test_a_last_line_without_newline_is_read():
    assert texts("SELECT 1\nGO\nSELECT 2\nGo") == ["SELECT 1", "SELECT 2"]
    assert texts("SELECT 1\nGO\nSELECT 2") == ["SELECT 1", "SELECT 2"]


def test_a_count_repeats_the_batch_before_it():
    assert split_batches("INSERT t VALUES (1)\nGO 5\nSELECT 1\ngo  2 -- twice") == [
        Batch("INSERT t VALUES (1)", line=1, count=5),
        Batch("SELECT 1", line=3, count=2),
    ]


def test_windows_line_ends_and_a_byte_order_mark_change_nothing():
    assert split_batches("\ufeffSELECT 1\r\nGO\r\n\r\nSELECT 2\r\nGO 3\r\n") == [
        Batch("SELECT 1", line=1),
        Batch("SELECT 2", line=4, count=3),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'a\nGO\nb'",
        "SELECT N'it''s\nGO\n'",
        "SELECT 1 AS [a\nGO\n]]b]",
        'SELECT 1 AS "a\nGO\n""b"',
        "/* a\nGO\n*/ SELECT 1",
        "/* a /* b */\nGO\n*/ SELECT 1",
        "SELECT 1 -- it's open?\n+ '\nGO\n'",
        "SELECT ' -- ' /* ' */ + '\nGO\n'",
        "SELECT 1 -- /* no comment begins here\n, 2",
        "EXEC GO",
        "SELECT 1 AS GO",
        "GOTO done",
        "GO5",
        "-- GO\nSELECT 1",
    ],
)
def test_go_inside_quotes_or_comments_is_text(statement):
    assert texts(f"{statement}\nGO\nSELECT 2") == [statement, "SELECT 2"]


def test_batches_of_comments_and_blanks_are_left_out():
    assert texts("-- head\nGO\n\n/* nothing */\nGO\nGO 3\nSELECT 1\nGO\n  \n") == ["SELECT 1"]


def test_a_comment_before_a_statement_stays_with_it():
    assert texts("-- why\nCREATE PROCEDURE p AS SELECT 1\nGO") == [
        "-- why\nCREATE PROCEDURE p AS SELECT 1"
    ]


def test_the_line_of_a_batch_is_where_it_begins_in_the_file():
    script = "SELECT '\n\n'\nGO\n\n\nSELECT 2\nGO\nSELECT 3"
    assert [batch.line for batch in split_batches(script)] == [1, 7, 9]


@given(st.text(alphabet="GOgo '\"[]\n\r\t5;x", max_size=60))
def test_no_text_but_separators_and_blanks_is_left_out(script):
    left_out, position = [], 0
    for batch in split_batches(script):
        begin = script.index(batch.sql, position)
        left_out.append(script[position:begin])
        position = begin + len(batch.sql)
    left_out.append(script[position:])
    assert re.fullmatch(r"(?:\s|\bgo\b|\b\d+\b)*", "".join(left_out), re.IGNORECASE)


@given(st.lists(st.sampled_from(["SELECT 1", "SELECT 'GO'", "-- GO\nSELECT 2"]), min_size=1))
def test_batches_joined_by_go_are_split_again(statements):
    assert texts("\nGO\n".join(statements)) == statements


def test_scripts_come_in_number_order(tmp_path):
    for name in ("100_c.sql", "020_b.sql", "3_a.sql", "README.md"):
        (tmp_path / name).write_text("SELECT 1")
    assert [script.name for script in scripts(tmp_path)] == ["3_a.sql", "020_b.sql", "100_c.sql"]


def test_a_script_without_number_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(DeploymentError, match="There is no script"):
        scripts(tmp_path)
    (tmp_path / "later.sql").write_text("SELECT 1")
    with pytest.raises(DeploymentError, match=r"later\.sql has no number"):
        scripts(tmp_path)


HOSTILE = "a'] TO [public]; DROP TABLE t; --\"b"


def test_a_value_is_quoted_for_the_place_it_stands_in():
    script = "CREATE USER $(App); -- $(App)\nGRANT x TO [$(App)], \"$(App)\"; SELECT N'$(App)'"
    assert fill(script, {"App": HOSTILE}) == (
        "CREATE USER [a']] TO [public]]; DROP TABLE t; --\"b]; -- $(App)\n"
        "GRANT x TO [a']] TO [public]]; DROP TABLE t; --\"b],"
        ' "a\'] TO [public]; DROP TABLE t; --""b";'
        " SELECT N'a''] TO [public]; DROP TABLE t; --\"b'"
    )


def test_a_dollar_quoted_body_is_filled_as_the_code_it_is():
    script = "DO $$ BEGIN CREATE ROLE \"$(App)\"; PERFORM '$(App)'; END $$; GRANT x TO $(App)"
    assert fill(script, {"App": "o'b\"c"}, engine="postgresql") == (
        'DO $$ BEGIN CREATE ROLE "o\'b""c"; PERFORM \'o\'\'b"c\'; END $$; GRANT x TO "o\'b""c"'
    )


def test_a_value_can_not_end_a_dollar_quoted_body():
    with pytest.raises(DeploymentError, match=r"has a \$"):
        fill("DO $$ '$(App)' $$", {"App": "$$; DROP TABLE t; --"}, engine="postgresql")


@given(st.text(min_size=1, max_size=60).filter(str.isprintable))
def test_a_filled_value_never_adds_a_batch_or_leaves_its_quotes(value):
    filled = fill("SELECT N'$(V)' AS [$(V)]\nGO\nSELECT 2", {"V": value})
    first, second = split_batches(filled)
    assert second.sql == "SELECT 2"
    literal, name = first.sql.removeprefix("SELECT N'").rsplit("' AS [", 1)
    # Undone, the quoting gives the value back, unless the value itself holds the divider.
    if "' AS [" not in value:
        assert literal.replace("''", "'") == value
        assert name.removesuffix("]").replace("]]", "]") == value


@pytest.mark.parametrize("value", ["", "a\nGO\nDROP TABLE t", "a\x00b", "a\u2028b"])
def test_an_unusable_value_is_rejected(value):
    with pytest.raises(DeploymentError, match=r"\$\(App\)"):
        fill("SELECT '$(App)'", {"App": value})


def test_a_name_longer_than_an_identifier_is_rejected():
    assert fill("[$(App)]", {"App": "a" * 128}) == f"[{'a' * 128}]"
    with pytest.raises(DeploymentError, match="longer than a name"):
        fill("[$(App)]", {"App": "a" * 129})


def test_a_plan_fills_all_templates_before_anything_runs(tmp_path):
    (tmp_path / "1_a.sql").write_text("SELECT 1\nGO\nSELECT 2\nGO 2")
    (tmp_path / "2_grants.sql").write_text("GRANT x TO [$(AppName)]")
    with pytest.raises(DeploymentError, match=r"2_grants\.sql: \$\(AppName\) has no value"):
        plan(tmp_path, engine="sqlserver", variables={})
    steps = plan(tmp_path, engine="sqlserver", variables={}, skip=("*grants*",))
    assert [str(step).split("/")[1] for step in steps] == [
        "1_a.sql, batch 1 of 2 (line 1)",
        "1_a.sql, batch 2 of 2 (line 3), 2 times",
    ]


def test_a_postgresql_script_is_one_batch_whatever_it_holds(tmp_path):
    (tmp_path / "1_a.sql").write_text("SELECT 1;\nGO\nSELECT '[';")
    (step,) = plan(tmp_path, engine="postgresql", variables={})
    assert step.batch.sql == "SELECT 1;\nGO\nSELECT '[';"
