"""The text of ``--data.columns``."""

from __future__ import annotations

import pytest

from inlay.recipes.data import DataError
from inlay.recipes.data.rows.columns import parse_columns, renamed


def test_pairs_are_separated_by_commas() -> None:
    assert parse_columns("question=query,answer = label ,") == {"question": "query", "answer": "label"}
    assert parse_columns("") == {}


@pytest.mark.parametrize("text", ["query", "=a", "a=", "a=b,a=c", "a=b,c=b"])
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(DataError, match=r"data\.columns: expected NAME=COLUMN"):
        parse_columns(text)


def test_a_mapped_column_replaces_one_that_has_its_name() -> None:
    assert renamed({"answer": 1, "label": "yes", "x": 2}, {"answer": "label"}) == {"answer": "yes", "x": 2}
