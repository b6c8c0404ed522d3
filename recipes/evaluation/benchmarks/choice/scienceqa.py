"""ScienceQA: school science with and without pictures (Lu et al., 2022, https://arxiv.org/abs/2209.09513).

The test split. The letter of an answer is found as in LLaVA's ``eval_science_qa.py``: the letter alone, ``B. ...`` at
the beginning, or ``The answer is B``; anything else is wrong. Accuracy overall, IMG (with a picture), TXT (with a
hint), NO (with neither), NAT, SOC, LAN, and grades 1 to 6 and 7 to 12. The results file has the form of the official
one, ``{"results": {id: index of the option}}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, ResultsFile, Scored, mean_of_counts
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import LETTER, about, with_options
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED
from inlay.recipes.evaluation.benchmarks.results_files import write_json

__all__ = ["BENCHMARK", "chosen", "read", "score"]

_SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}
_LETTERS = "ABCDE"
_NAMED = re.compile(r"The answer is ([A-E])")


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """The questions of the test split; `gold` is the right option, the number of options, and the subsets."""
    problems, splits = files.document("problems"), files.document("splits")
    with files.reading("splits") as path:
        names = splits["test"]
        if missing := [name for name in names if name not in problems]:
            raise DataError(f"{path}: {files.path('problems')} has no problem {missing[0]}")
    with files.reading("problems") as path:
        return [_item(files, str(name), problems[name], instruction, f"{path}, problem {name}") for name in names]


def _item(files: OfficialFiles, name: str, row: Mapping[str, Any], instruction: str, where: str) -> Item:
    choices, right, hint = row["choices"], row["answer"], str(row.get("hint") or "").strip()
    if not 2 <= len(choices) <= len(_LETTERS) or right not in range(len(choices)):
        raise DataError(f"{where}: expected two to five choices and the place of the right one, got answer {right!r}")
    question = with_options(filled(row, "question", where), choices)
    image = row.get("image")
    picture = None if not image else files.medium("image", f"{name}/{image}")
    prompt = about(picture, f"Context: {hint}\n{question}" if hint else question, instruction)
    subsets = [_SUBJECTS.get(str(row.get("subject")), "other")]
    subsets += ["IMG"] * bool(image) + ["TXT"] * bool(hint) + ["NO"] * (not image and not hint)
    grade = str(row.get("grade", "")).removeprefix("grade")
    if grade.isdecimal():
        subsets.append("G1-6" if int(grade) <= 6 else "G7-12")
    return Item(name, prompt, (right, len(choices), tuple(subsets)))


def chosen(answer: str, options: int) -> int:
    """The place of the chosen option; -1 for none.

    Example:
        >>> [chosen(text, 3) for text in ("B", "B. blue", "The answer is C.", "D", "b", "blue")]
        [1, 1, 2, -1, -1, -1]
    """
    text = answer.replace("\n", ". ")
    plain = text.strip()
    if plain and plain in _LETTERS:
        letter = plain
    elif len(text) >= 3 and text[0] in _LETTERS and text[1:3] == ". ":
        letter = text[0]
    else:
        named = _NAMED.search(text)
        letter = named[1] if named else ""
    return _LETTERS.index(letter) if len(letter) == 1 and letter in _LETTERS[:options] else -1


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Accuracy, overall and by subset."""
    right, subsets = [], dict[str, list[float]]()
    for item, said in zip(items, answers, strict=True):
        gold, options, names = item.gold
        right.append(float(chosen(said, options) == gold))
        for name in names:
            subsets.setdefault(name, []).append(right[-1])
    figures = {"accuracy": 100 * sum(right) / len(right)}
    order = ("IMG", "TXT", "NO", "NAT", "SOC", "LAN", "G1-6", "G7-12")
    figures |= {name: 100 * sum(subsets[name]) / len(subsets[name]) for name in order if name in subsets}
    return Scored(figures, [(value, 1) for value in right], mean_of_counts)


def _write(path: Path, items: Sequence[Item], answers: Sequence[str], _: OfficialFiles) -> None:
    rows = list(zip(items, answers, strict=True))
    results = {item.name: chosen(said, item.gold[1]) for item, said in rows}
    write_json(path, {"results": results, "outputs": {item.name: said for item, said in rows}})


BENCHMARK = Benchmark(
    name="scienceqa",
    published=PUBLISHED["scienceqa"],
    read=read,
    score=score,
    main="accuracy",
    instruction=LETTER,
    results=ResultsFile(name="scienceqa_results.json", write=_write),
)
