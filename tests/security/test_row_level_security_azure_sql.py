"""The T-SQL of the row-level security example, as far as it can be judged without a server."""

from __future__ import annotations

import re

import pytest
from sqlfluff.core import Linter

from deploy.scripts import Batch, split_batches
from settings import ROOT

EXAMPLE = ROOT / "sql" / "examples" / "row_level_security_azure_sql.sql"
BATCHES = split_batches(EXAMPLE.read_text(encoding="utf-8"))
DOCUMENT = (ROOT / "docs" / "row-level-security.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: f"line {batch.line}")
def test_every_batch_parses(batch: Batch):
    parsed = Linter(dialect="tsql").parse_string(batch.sql)
    assert parsed.violations == []
    assert "unparsable" not in parsed.tree.type_set()


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_script_of_the_document_parses_and_can_be_undone(recipe: str):
    parsed = Linter(dialect="tsql").parse_string(recipe)
    assert parsed.violations == []
    assert "unparsable" not in parsed.tree.type_set()
    done, undone = recipe.split("-- undo:")
    policy = "Application.FilterCustomersBySalesTerritoryRole"
    assert [policy in part or "[Far West Sales]" in part for part in (done, undone)] == [True] * 2


def test_reading_inserting_and_updating_use_the_same_predicate():
    policy = re.sub(r"\s+", " ", BATCHES[-1].sql)
    predicate = r"Sales\.caller_may_see\(DeliveryPostalCode\) ON Sales\.Customers"
    assert len(re.findall(rf"FILTER PREDICATE {predicate},", policy)) == 1
    kinds = re.findall(rf"BLOCK PREDICATE {predicate} AFTER (\w+)", policy)
    assert kinds == ["INSERT", "UPDATE"]
    assert policy.count("PREDICATE") == 3
    assert "STATE = ON" in policy
