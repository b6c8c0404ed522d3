"""MMBench: circular accuracy by hand, files with rotations, and the workbook of the server."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from benchmark_files import answered, opened, sheet_of, write_official

from inlay.recipes.evaluation.benchmarks.item import limited
from inlay.recipes.evaluation.errors import BenchmarkError

SAID = {"241-0": "B", "241-1": "A. blue", "241-2": "The answer is C.", "252-0": "A", "252-1": "A"}


def test_a_question_is_right_if_all_rotations_are(tmp_path: Path) -> None:
    benchmark, _, items = opened("mmbench", tmp_path / "mmb")
    scored = answered(benchmark, items, SAID)
    kinds = {"category color": 100, "category shape": 0, "l2-category fine": 50}
    assert scored.figures == {"circular": 50, "vanilla": 100, **kinds}
    assert scored.main(np.sum(scored.counts, axis=0)) == 50


def test_options_rotate_and_letters_stay(tmp_path: Path) -> None:
    items = opened("mmbench", tmp_path / "mmb")[2]
    tail = "Answer with the option's letter from the given choices directly."
    assert items[1].prompt[0].text == f"Which color?\nA. blue\nB. green\nC. red\n{tail}"
    assert items[3].prompt[0].text == f"Look closely.\nWhich shape?\nA. ring\nB. disc\n{tail}"
    assert [item.gold[2] for item in items] == ["B", "A", "C", "A", "B"]


def test_the_limit_counts_questions_and_keeps_their_rotations(tmp_path: Path) -> None:
    assert [item.name for item in limited(opened("mmbench", tmp_path / "mmb")[2], 1)] == ["241-0", "241-1", "241-2"]


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def _write(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(rows)


def test_rotations_of_the_file_are_read_as_they_are(tmp_path: Path) -> None:
    path = write_official("mmbench", tmp_path / "mmb") / "mmbench_dev_20230712.tsv"
    header, first, second = _rows(path)
    turned = [*first]
    turned[0], turned[3:6], turned[7], turned[9] = "1000241", ["green", "red", "blue"], "C", "241"
    _write(path, [header, first, second, turned])
    benchmark, files, items = opened("mmbench", tmp_path / "mmb")
    assert [item.name for item in items] == ["241-0", "252-0", "241-1"]
    assert items[0].prompt[0].content[0] == items[2].prompt[0].content[0]  # the picture of the first row
    assert answered(benchmark, items, {"241-0": "B", "252-0": "A", "241-1": "B"}).figures["circular"] == 50
    benchmark.results.write(tmp_path / "out.xlsx", items, ["B", "A", "B"], files)
    assert [row[0] for row in sheet_of(tmp_path / "out.xlsx")] == ["index", "241", "252", "1000241"]


def test_the_workbook_is_what_the_server_takes(tmp_path: Path) -> None:
    benchmark, files, items = opened("mmbench", tmp_path / "mmb")
    benchmark.results.write(tmp_path / "out.xlsx", items, [SAID[item.name] for item in items], files)
    header, first, second = sheet_of(tmp_path / "out.xlsx")
    assert header == ["index", "question", "A", "B", "C", "D", "answer", "split", "prediction"]
    assert first == ["241", "Which color?", "red", "blue", "green", "", "B", "dev", "B"]
    assert second[-1] == "A"


def test_a_test_set_has_no_answers(tmp_path: Path) -> None:
    path = write_official("mmbench", tmp_path / "mmb") / "mmbench_dev_20230712.tsv"
    header, *rows = _rows(path)
    for row in rows:
        row[7] = ""
    _write(path, [header, *rows])
    benchmark, files, items = opened("mmbench", tmp_path / "mmb")
    assert {item.gold for item in items} == {None}
    benchmark.results.write(tmp_path / "out.xlsx", items, ["B"] * len(items), files)
    assert [row[-1] for row in sheet_of(tmp_path / "out.xlsx")] == ["prediction", "B", "B"]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (0, "x", "index: expected a whole number"),
        (7, "D", "answer: expected a letter of an option"),
        (9, "7", "image: expected base64"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, column: int, value: str, told: str) -> None:
    path = write_official("mmbench", tmp_path / "mmb") / "mmbench_dev_20230712.tsv"
    rows = _rows(path)
    rows[1][column] = value
    _write(path, rows)
    with pytest.raises(BenchmarkError, match=f"line 2, {told}"):
        opened("mmbench", tmp_path / "mmb")
