"""Tables with a header."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.csv_rows import csv_rows


def test_quoted_fields_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('\ufeffname,caption\n1,"rain, and\nthunder"\n'.encode())
    rows = list(csv_rows(tmp_path / "a.csv", "name", "caption"))
    assert rows == [(f"{tmp_path / 'a.csv'}, line 3", {"name": "1", "caption": "rain, and\nthunder"})]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name\n1\n", "missing: caption"),
        ("", "missing: name, caption"),
        ("name,caption\n1\n", "line 2: expected 2 fields"),
        ("name,caption\n1,a,b\n", "line 2: expected 2 fields"),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        list(csv_rows(tmp_path / "a.csv", "name", "caption"))


def test_a_field_may_be_long(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tb\n1\t" + "x" * 1_000_000 + "\n")
    assert len(next(csv_rows(tmp_path / "a.tsv", delimiter="\t"))[1]["b"]) == 1_000_000
