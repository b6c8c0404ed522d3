"""MMBench with circular evaluation (Liu et al., 2023, https://arxiv.org/abs/2307.06281).

A question counts as right if it is answered correctly with every rotation of its options. Files that already contain
the rotations (index + 1,000,000 for each, with the index of the first row instead of the picture) are read unchanged.
Letters are found by exact matching; the official leaderboard asks an LLM if that fails. ``vanilla``: the accuracy
without rotations. The results file is the workbook that the evaluation server takes, with a column ``prediction``; the
test set has no answers, so only that file is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.adapters.media.sources import from_base64
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, ResultsFile, Scored, mean_of_counts
from inlay.recipes.evaluation.benchmarks.csv_rows import csv_rows
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import LETTER, about, with_options
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED
from inlay.recipes.evaluation.benchmarks.results_files import write_xlsx
from inlay.recipes.evaluation.metrics.choice import chosen_option

__all__ = ["BENCHMARK", "read", "score"]

_LETTERS = "ABCD"
_ROTATION = 1_000_000
"""Added to the index of a question for each rotation, in files that contain them."""
_NOT_UPLOADED = ("image", "hint", "category", "source", "comment", "l2-category")
_SHORTEST = 64
"""A shorter text instead of a picture is the index of the row that has it."""


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """All rotations; `gold` is the row, the options, the right letter (empty in the test set), and the rotation."""
    with files.reading("questions") as path:
        rows = {}
        for where, row in csv_rows(path, "index", "question", "A", "B", "image", delimiter="\t"):
            if not row["index"].isdecimal():
                raise DataError(f"{where}, index: expected a whole number, got {row['index']!r}")
            rows[int(row["index"])] = where, row
        held = any(index >= _ROTATION for index in rows)
        items = []
        for index, (where, row) in rows.items():
            picture = from_base64(_picture(rows, row, where), f"{where}, image")
            options = _options(row)
            if len(options) < 2:
                raise DataError(f"{where}: expected two or more options in the columns A to D")
            letter = row.get("answer", "").strip()
            if letter and letter not in _LETTERS[: len(options)]:
                raise DataError(f"{where}, answer: expected a letter of an option, got {letter!r}")
            group, first = str(index % _ROTATION), index // _ROTATION
            for turn in [first] if held else range(len(options)):
                shift = 0 if held else turn
                own = options[shift:] + options[:shift]
                right = _LETTERS[(_LETTERS.index(letter) - shift) % len(options)] if letter else ""
                prompt = about(picture, with_options(_asked(row), own), instruction)
                plain = {name: value for name, value in row.items() if name != "image"}
                items.append(
                    Item(f"{group}-{turn}", prompt, (plain, own, right, turn) if letter else None, group=group)
                )
        return items


def _picture(rows: Mapping[int, tuple[str, dict[str, str]]], row: Mapping[str, str], where: str) -> str:
    value = row["image"]
    if len(value) >= _SHORTEST or not value.isdecimal():
        return value
    if int(value) not in rows or len(rows[int(value)][1]["image"]) < _SHORTEST:
        raise DataError(f"{where}, image: expected base64, or the index of a row with a picture, got {value}")
    return rows[int(value)][1]["image"]


def _options(row: Mapping[str, str]) -> list[str]:
    found = []
    for letter in _LETTERS:
        value = row.get(letter, "").strip()
        if value.lower() in ("", "nan", "none"):
            break
        found.append(value)
    return found


def _asked(row: Mapping[str, str]) -> str:
    hint = row.get("hint", "").strip()
    return row["question"] if hint.lower() in ("", "nan", "none") else f"{hint}\n{row['question']}"


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Circular accuracy, overall and by category, and the accuracy without rotations."""
    wrong: set[str] = set()
    vanilla = []
    for item, said in zip(items, answers, strict=True):
        _, options, right, turn = item.gold
        good = chosen_option(said, dict(zip(_LETTERS, options, strict=False))) == right
        if not good:
            wrong.add(item.group)
        if turn == 0:
            vanilla.append(good)
    counts: list[tuple[float, float]] = []
    kinds: dict[str, list[float]] = {}
    seen: set[str] = set()
    for item in items:
        first = item.group not in seen
        seen.add(item.group)
        counts.append((float(first and item.group not in wrong), float(first)))
        for column in ("l2-category", "category"):
            kind = item.gold[0].get(column, "")
            if first and kind:
                kinds.setdefault(f"{column} {kind}", []).append(counts[-1][0])
    figures = {"circular": 100 * (len(seen) - len(wrong)) / len(seen)}
    if vanilla:
        figures["vanilla"] = 100 * sum(vanilla) / len(vanilla)
    figures |= {name: 100 * sum(values) / len(values) for name, values in sorted(kinds.items())}
    return Scored(figures, counts, mean_of_counts)


def _write(path: Path, items: Sequence[Item], answers: Sequence[str], files: OfficialFiles) -> None:
    """One row for each row of the official file: its columns without the picture, and the answer's letter or text."""
    said = {item.name: (item, text) for item, text in zip(items, answers, strict=True)}
    lines: list[list[str | int]] = []
    for _, row in csv_rows(files.path("questions"), "index", "question", delimiter="\t"):
        index = int(row["index"])
        name = f"{index % _ROTATION}-{index // _ROTATION}"
        if name not in said:
            continue  # beyond --limit
        kept = {column: value for column, value in row.items() if column not in _NOT_UPLOADED}
        if not lines:
            lines.append([*kept, "prediction"])
        letter = chosen_option(said[name][1], dict(zip(_LETTERS, _options(row), strict=False)))
        values: list[Any] = [index if column == "index" else value for column, value in kept.items()]
        lines.append([*values, letter or said[name][1]])
    write_xlsx(path, lines)


BENCHMARK = Benchmark(
    name="mmbench",
    published=PUBLISHED["mmbench"],
    read=read,
    score=score,
    main="circular",
    instruction=LETTER,
    results=ResultsFile(name="mmbench_results.xlsx", write=_write),
)
