"""MME: perception and cognition (Fu et al., 2023, https://arxiv.org/abs/2306.13394).

Two yes/no questions per picture. A category has up to 200 points: the share of right answers plus the share of pictures
with two right answers (accuracy+), in percent. Ten categories of perception (2000 points) and four of cognition (800).
An answer counts by its first four letters, as in the official ``calculation.py``: *yes*, *no*, or neither, which is
wrong. The results are the official text files in one archive: ``CATEGORY.txt`` with lines of image, question, reference
and answer, separated by tabs.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inlay.hub.safety.atomic import write_file
from inlay.recipes.data.rows.fields import decode, file_bytes
from inlay.recipes.data.rows.media_values import MediaRules, medium
from inlay.recipes.data.rows.records import filled, records
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, ResultsFile, Scored
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import about
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED

__all__ = ["BENCHMARK", "read", "score", "yes_or_no"]

PERCEPTION = (
    *("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork"),
    "OCR",
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
_SUFFIXES = (".jpg", ".png", ".jpeg")
_OWN_TAIL = "Please answer yes or no."
"""The instruction with which every official question ends."""


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """All questions; `gold` is the reference, the image's name and the question."""
    with files.reading("questions") as path:
        if path.is_file():
            return _of_parquet(path, instruction)
        return [
            item
            for category in (*PERCEPTION, *COGNITION)
            for item in _of_folder(files, path.parent / category, instruction)
        ]


def _of_folder(files: OfficialFiles, folder: Path, instruction: str) -> list[Item]:
    """One category in its folder, in either of the two official forms."""
    texts, images = folder / "questions_answers_YN", folder / "images"
    texts, images = (texts, images) if texts.is_dir() else (folder, folder)
    found = sorted(texts.glob("*.txt"))
    if not found:
        raise DataError(f"{folder}: expected texts of questions and answers, found none")
    items = []
    for file in found:
        inside = images.relative_to(files.root)
        picture = files.medium("image", *((inside / file.with_suffix(suffix).name).as_posix() for suffix in _SUFFIXES))
        lines = [line for line in decode(file_bytes(file), str(file)).splitlines() if line.strip()]
        if len(lines) != 2:
            raise DataError(f"{file}: expected two lines QUESTION<tab>Yes|No, got {len(lines)}")
        for number, line in enumerate(lines):
            question, _, gold = line.partition("\t")
            items.append(
                _item(
                    folder.name,
                    picture.name,
                    number,
                    question,
                    gold,
                    picture,
                    instruction,
                    f"{file}, line {number + 1}",
                )
            )
    return items


def _of_parquet(path: Path, instruction: str) -> list[Item]:
    """All categories in the Parquet files of ``lmms-lab/MME``; both questions of an image have its name as their id."""
    items, seen = [], Counter[tuple[str, str]]()
    for file in sorted(path.parent.glob("*.parquet")):
        for where, row in records(file):
            category, name = filled(row, "category", where), filled(row, "question_id", where).rpartition("/")[2]
            picture = medium(row["image"], "image", MediaRules(), f"{where}, image")
            number = seen[category, name]
            seen[category, name] += 1
            question, gold = filled(row, "question", where), filled(row, "answer", where)
            items.append(_item(category, name, number, question, gold, picture, instruction, where))
    if odd := [key for key, count in seen.items() if count != 2]:
        raise DataError(f"{path}: expected two questions about each image, got {seen[odd[0]]} about {'/'.join(odd[0])}")
    return items


def _item(
    category: str, image: str, number: int, question: str, gold: str, picture: Any, instruction: str, where: str
) -> Item:
    label = gold.strip().lower()
    if label not in ("yes", "no"):
        raise DataError(f"{where}: expected Yes or No, got {gold!r}")
    # The user's instruction replaces the official one.
    asked = question.removesuffix(_OWN_TAIL).strip() if instruction != _OWN_TAIL else question.strip()
    tail = "" if instruction == _OWN_TAIL else instruction
    group = f"{category}/{image}"
    facts = (label, image, question.strip())
    return Item(f"{group}/{number}", about(picture, asked, tail), facts, category, group, group)


def yes_or_no(answer: str) -> str:
    """Parse an answer as in the official code.

    Example:
        >>> [yes_or_no(text) for text in ("Yes, it is.", "no", "It is.", "Nowhere")]
        ['yes', 'no', '', 'no']
    """
    first = answer.lower()[:4]
    return "yes" if "yes" in first else "no" if "no" in first else ""


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Points of perception and cognition, and accuracy and accuracy+ of each category."""
    right = [yes_or_no(said) == item.gold[0] for item, said in zip(items, answers, strict=True)]
    wrong = {item.group for item, value in zip(items, right, strict=True) if not value}
    categories = list(dict.fromkeys(item.part for item in items))
    places = {category: place for place, category in enumerate(categories)}
    counts = np.zeros((len(items), len(categories), 4))  # right answers, answers, images with two right answers, images
    seen: set[str] = set()
    for row, item, value in zip(counts, items, right, strict=True):
        first = item.group not in seen
        seen.add(item.group)
        row[places[item.part]] = (value, 1, first and item.group not in wrong, first)

    def points(sums: NDArray[Any]) -> NDArray[Any]:
        """``[..., categories * 4]`` -> points of each category ``[..., categories]``."""
        table = sums.reshape(*sums.shape[:-1], -1, 4)
        gained: NDArray[Any] = 100 * table[..., ::2] / np.maximum(table[..., 1::2], 1)
        summed: NDArray[Any] = gained.sum(axis=-1)
        return summed

    def total(sums: NDArray[Any]) -> NDArray[Any]:
        whole: NDArray[Any] = points(sums).sum(axis=-1)
        return whole

    flat = counts.reshape(len(items), -1)
    by_category = dict(zip(categories, points(flat.sum(axis=0)).tolist(), strict=True))
    figures = {"total": sum(by_category.values())}
    for name, own in (("perception", PERCEPTION), ("cognition", COGNITION)):
        if not by_category.keys().isdisjoint(own):
            figures[name] = sum(value for category, value in by_category.items() if category in own)
    for category, (good, asked, both, images) in zip(categories, counts.sum(axis=0).tolist(), strict=True):
        figures |= {category: by_category[category], f"{category} acc": 100 * good / asked}
        figures[f"{category} acc+"] = 100 * both / images
    return Scored(figures, flat.tolist(), total)


def _write(path: Path, items: Sequence[Item], answers: Sequence[str], _: OfficialFiles) -> None:
    texts: dict[str, list[str]] = {}
    for item, said in zip(items, answers, strict=True):
        gold, image, question = item.gold
        line = "\t".join((image, question, gold.capitalize(), " ".join(said.split())))
        texts.setdefault(item.part, []).append(f"{line}\n")
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for category, lines in texts.items():
            archive.writestr(zipfile.ZipInfo(f"{category}.txt", (1980, 1, 1, 0, 0, 0)), "".join(lines))
    write_file(path, held.getvalue())


BENCHMARK = Benchmark(
    name="mme",
    published=PUBLISHED["mme"],
    read=read,
    score=score,
    main="total",
    instruction=_OWN_TAIL,
    results=ResultsFile(name="mme_results.zip", write=_write),
)
