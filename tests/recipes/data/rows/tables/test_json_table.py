"""Rows of JSON lists and JSON lines: positions, random access, and the errors of the file and of single rows."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.rows.tables import json_table
from inlay.recipes.data.rows.tables.json_table import JsonTable

ROWS: list[dict[str, Any]] = [{"id": 0, "text": "caf\u00e9 \U0001f600"}, {"id": 1, "a": [1, {"b": "]"}]}, {}, {"id": 3}]


def read(path: Path, *, lines: bool = False) -> JsonTable:
    table = JsonTable(path, lines=lines)
    table.streamed = list(table.stream())
    return table


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("indent", [None, 2])
def test_rows_of_a_list_are_those_of_the_json_module_wherever_a_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, ascii_only: bool, indent: int | None
) -> None:
    monkeypatch.setattr(json_table, "_BLOCK", block)
    path = tmp_path / "a.json"
    path.write_text(" " + json.dumps(ROWS, ensure_ascii=ascii_only, indent=indent) + "\n", encoding="utf-8")
    table = read(path)
    assert [value for _, value in table.streamed] == ROWS
    assert [where for where, _ in table.streamed] == [f"{path}, item {number}" for number in range(4)]
    assert table.take([3, 0, 1]) == [ROWS[3], ROWS[0], ROWS[1]]


def test_a_byte_order_mark_does_not_move_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ROWS, ensure_ascii=False), encoding="utf-8-sig")
    assert read(path).take(range(4)) == ROWS


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_rows_of_lines_keep_the_numbers_of_their_lines(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.jsonl"
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + end
    path.write_bytes(text.encode())
    table = read(path, lines=True)
    assert [value for _, value in table.streamed] == ROWS
    assert table.where(2) == f"{path}, line 5"
    assert table.take([2, 1]) == [ROWS[2], ROWS[1]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty, expected JSON"),
        ("[]", "expected at least one record, got none"),
        ("7", "expected a JSON list of records, got 7"),
        ("[" * 100_000, "too deeply nested"),
    ],
)
def test_a_file_that_is_no_list_gives_the_error_of_the_whole_file(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"a\.json: .*{told}"):
        read(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"a": 1} {"b": 2}]', r"not JSON: Expecting ',' delimiter \(from byte 10 on\)"),
        ('[{"a": 1}] 7', "Extra data"),
        ('[{"a": 1}', "the file ends inside of the list"),
        ('[{"a": 1},', "the file ends inside of the list"),
        ('[{"a": 1},]', "Expecting value"),
        ('[{"a": 1}, {"b": "cut', "the file ends inside of the list"),
        ('[{"a": 1}, {"b": tru', "the file ends inside of the list"),
        ('[{"a": 1}, {"b":: 2}' + ', {"c": 3}' * 9 + "]", "Expecting value"),
    ],
)
def test_rows_in_front_of_a_fault_are_kept_and_the_fault_is_a_row(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    table = read(path)
    (first, (where, error)) = table.streamed
    assert first == (f"{path}, item 0", {"a": 1})
    assert where == f"{path}, item 1"
    with pytest.raises(DataError, match=rf"a\.json, item 1: .*{told}.*no later item can be read"):
        raise error
    assert table.take([0]) == [{"a": 1}]


def test_a_broken_item_is_reported_without_reading_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_table, "_BLOCK", 64)
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1}, {"b":: 2}' + ', {"c": 3}' * 1000 + "]")
    with monkeypatch.context() as patch:
        read_on = json_table._Text.more
        count: list[int] = []
        patch.setattr(json_table._Text, "more", lambda text: [count.append(1), read_on(text)][1])
        (_, (_, error)) = read(path).streamed
    assert isinstance(error, DataError)
    assert len(count) < 5


def test_a_file_that_is_not_utf8_is_an_error_with_the_position(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'[{"a": "caf\xe9"}]')
    with pytest.raises(DataError, match="expected UTF-8, got an invalid byte at position 11"):
        read(tmp_path / "a.json")


def test_rows_that_are_no_objects_have_a_reason_each(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n[1]\n{\n"\xe9"\n{"b": 2}\n')
    table = read(path, lines=True)
    reasons = [str(value) for _, value in table.streamed if isinstance(value, DataError)]
    assert [reason.removeprefix(f"{path}, ") for reason in reasons] == [
        "line 2: expected an object, got a list",
        "line 3: not JSON: Expecting property name enclosed in double quotes: line 2 column 1 (char 2)",
        "line 4: expected UTF-8, got an invalid byte at position 1",
    ]
    assert table.take([4]) == [{"b": 2}]


def test_a_number_at_the_end_of_a_block_is_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_table, "_BLOCK", 3)
    (tmp_path / "a.json").write_text("[12345]")
    ((_, value),) = read(tmp_path / "a.json").streamed
    assert str(value).endswith("item 0: expected an object, got 12345")


@pytest.mark.parametrize("text", ["[]", '[{"id": 9}, {"id": 8}, {}]', "["])
def test_a_file_that_changes_after_the_check_is_an_error_and_no_crash(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ROWS))
    table = read(path)
    path.write_text(text)
    with pytest.raises(DataError, match="has changed since it was checked"):
        table.take([3])


def test_a_file_that_is_cut_while_it_is_open_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ROWS))
    table = read(path)
    table.take([0])
    with path.open("r+b") as file:
        file.truncate(10)
    with pytest.raises(DataError, match="item 3: the file has changed"):
        table.take([3])


def test_a_table_goes_to_another_process_with_its_positions(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ROWS))
    table = read(path)
    table.take([0])
    copy = pickle.loads(pickle.dumps(table))
    assert (len(copy), copy.take([1])) == (4, [ROWS[1]])
