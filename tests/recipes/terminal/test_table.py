"""Tables: aligned columns for any script, whole lines in a pipe, headings and folded cells on a terminal."""

from __future__ import annotations

from typing import Any

import pytest
from terminal_streams import as_terminal

from inlay.recipes.evaluation.tables import figure_table
from inlay.recipes.terminal.table import aligned, fact_lines, show_facts, show_table

ROWS = [("cache", "me/x", "inlay adapter " * 12)]


def test_numbers_are_aligned_on_the_right() -> None:
    assert aligned([("a", "b"), ("long", "100.0")]) == "a         b\nlong  100.0"


def test_chosen_columns_are_aligned_on_the_right() -> None:
    assert aligned([("a", "1", "x"), ("b", "10", "yy")], right=(1,)) == "a   1  x\nb  10  yy"


def test_wide_characters_count_as_two_columns() -> None:
    # By the number of characters, the second row would begin its second column two places later than the first.
    lines = aligned([("图片", "x"), ("abcd", "y")], right=False).splitlines()
    assert lines == ["图片  x", "abcd  y"]


def test_a_figure_table_of_wide_names_is_aligned() -> None:
    lines = figure_table({"adapter": {"准确率": 0.5, "cider": 1.0}}).splitlines()
    assert lines == ["figure  adapter", "准确率     50.0", "cider     100.0"]


def test_facts_are_one_a_line() -> None:
    assert fact_lines({"a": 1, "bcd": "x y"}) == "a    1\nbcd  x y"


def test_a_pipe_gets_rows_without_headings_on_whole_lines(capsys: Any) -> None:
    show_table(("where", "bundle", "tags"), ROWS)
    assert capsys.readouterr().out == f"cache me/x {ROWS[0][2].rstrip()}\n"


def test_a_terminal_gets_headings_and_folded_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = as_terminal(monkeypatch, "stdout", columns=60)
    show_table(("where", "bundle", "tags"), ROWS)
    lines = terminal.text.splitlines()
    assert lines[0].split() == ["where", "bundle", "tags"]
    assert max(map(len, lines)) <= 60
    assert terminal.text.split().count("adapter") == 12


def test_no_rows_are_said(capsys: Any) -> None:
    show_table(("field", "difference"), [], none="the same")
    assert capsys.readouterr().out == "the same\n"


def test_facts_keep_all_words_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = as_terminal(monkeypatch, "stdout", columns=60)
    show_facts({"files": "intact", "signature": "valid for " + "key " * 30})
    assert terminal.text.split() == ["files", "intact", "signature", "valid", "for", *["key"] * 30]


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\rb", "a\x9bb"])
def test_control_characters_of_a_name_are_escaped(text: str) -> None:
    assert not {"\x1b", "\r", "\x9b"} & set(aligned([(text, "x")]))
