"""The fields that the JSON formats share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.data.formats.read import read_samples
from inlay.recipes.data.rows.sample import DataError

TURNS = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"question": "a", "label": "b"}], r"item 0: expected the field conversations, got question, label;"),
        ([*[TURNS] * 5, {"question": "a", "answer": "b"}], r"item 5: expected the field conversations, got question"),
        ([*[TURNS] * 5, {"messages": []}], r"item 5: expected the field conversations, got messages;"),
    ],
    ids=["unknown columns", "two formats", "two formats of conversations"],
)
def test_row_of_another_format_is_told_with_its_fields_and_the_options(
    tmp_path: Path, rows: list[dict[str, Any]], told: str
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=told + ".*--data.columns.*--data.format"):
        read_samples(tmp_path / "a.json")


def test_row_of_another_format_among_messages_is_told_in_the_same_way(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, [*[{"messages": turns}] * 5, {"text": "a"}])))
    with pytest.raises(DataError, match=r"line 6: expected the field messages, got text;.*--data.columns"):
        read_samples(tmp_path / "a.jsonl")


def test_a_misspelt_column_is_answered_with_the_option_that_reads_it(tmp_path: Path) -> None:
    rows = [*[TURNS] * 5, {"conversation": TURNS["conversations"]}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"\(--data\.columns conversations=conversation\)"):
        read_samples(tmp_path / "a.json")


def test_a_turn_without_a_field_is_told_with_the_fields_that_it_has(tmp_path: Path) -> None:
    turns = [{"form": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    (tmp_path / "a.json").write_text(json.dumps([{"conversations": turns}]))
    with pytest.raises(DataError, match=r"turn 0: expected the fields 'from' and 'value', got 'form, value'"):
        read_samples(tmp_path / "a.json", format_name="llava")
