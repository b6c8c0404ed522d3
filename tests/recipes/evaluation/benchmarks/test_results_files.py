"""Workbooks and JSON files."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmark_files import sheet_of

from inlay.recipes.evaluation.benchmarks.results_files import write_json, write_xlsx

ROWS = [["index", "prediction"], [7, 'a < b & "c"\n d\x07'], [8, " é "]]


def test_the_cells_are_those_of_the_rows(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "a.xlsx", ROWS)
    assert sheet_of(tmp_path / "a.xlsx") == [["index", "prediction"], ["7", 'a < b & "c"\n d'], ["8", " é "]]


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_xlsx(tmp_path / f"{name}.xlsx", ROWS)
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()


def test_openpyxl_reads_the_workbook(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    write_xlsx(tmp_path / "a.xlsx", ROWS)
    rows = list(openpyxl.load_workbook(tmp_path / "a.xlsx").active.values)
    assert rows == [("index", "prediction"), (7, 'a < b & "c"\n d'), (8, " é ")]


def test_json_keeps_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", ["é"])
    assert (tmp_path / "a.json").read_text() == '["é"]\n'
