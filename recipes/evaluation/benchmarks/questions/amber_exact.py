"""AMBER by exact matching: hallucination of existence, attributes and relations.

Wang et al., 2023, https://arxiv.org/abs/2311.07397. The official evaluation tags nouns with nltk and compares them
with spaCy's word vectors. This variant, which is therefore named ``amber_exact``, needs neither: a word of a
description counts if it, or its singular, is one of AMBER's words, and words are compared as texts. Its generative
figures are not comparable with published ones; the yes/no figures are. An answer counts as *Yes* or *No* by its first
word; the official code takes only ``Yes`` and ``No``.

``chair``: mentioned objects that are not in the picture; ``cover``: annotated objects that are mentioned; ``hal``:
descriptions with a hallucination; ``cog``: typical hallucinations that are mentioned. Precision, recall and F1 are
those of *No*. The main figure is AMBER's score (100 - chair + F1) / 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inlay.recipes.data.rows.fields import decode, file_bytes
from inlay.recipes.data.rows.records import filled, whole
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, ResultsFile, Scored
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import about
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED
from inlay.recipes.evaluation.benchmarks.results_files import write_json
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary

__all__ = ["BENCHMARK", "read", "score"]

GENERATIVE = "generative"
_KINDS = {
    "discriminative-hallucination": "existence",
    "discriminative-attribute-state": "attribute",
    "discriminative-attribute-number": "attribute",
    "discriminative-attribute-action": "attribute",
    "relation": "relation",
    "discriminative-relation": "relation",
}
_ORDER = ("existence", "attribute", "relation")
_COUNTS = 8
"""Counts of descriptions: hallucinated, mentioned, covered, annotated, with hallucination, all, cognitive, typical."""
_ANSWERS = 5
"""Counts of answers of one kind: right, all, right No, reference No, said No."""
_FIRST = re.compile(r"\W*(\w+)")


@dataclass(frozen=True, repr=False)
class _Words:
    """AMBER's words, shared by all items."""

    associated: Mapping[str, Sequence[str]]
    safe: frozenset[str]
    vocabulary: ObjectVocabulary


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """All queries; `gold` is the annotation, and AMBER's words."""
    words, notes = _words(files), files.rows("annotations")
    items = []
    with files.reading("queries") as path:
        for number, row in enumerate(files.rows("queries")):
            where = f"{path}, query {number}"
            name, image, query = whole(row, "id", where), filled(row, "image", where), filled(row, "query", where)
            if not 1 <= name <= len(notes) or notes[name - 1]["id"] != name:
                raise DataError(f"{where}: {files.path('annotations')} has no entry with id {name} at place {name - 1}")
            note = notes[name - 1]
            generative = note["type"] == GENERATIVE
            _check(note, words, f"{files.path('annotations')}, id {name}")
            prompt = about(files.medium("image", image), query, "" if generative else instruction)
            items.append(Item(str(name), prompt, (note, words), str(note["type"]), cluster=image))
    return items


def _check(note: Mapping[str, Any], words: _Words, where: str) -> None:
    """Check that an annotation can be scored.

    Raises:
        DataError: an object without associated words, or another answer than yes and no.
    """
    if note["type"] != GENERATIVE:
        if note["truth"] not in ("yes", "no"):
            raise DataError(f"{where}, truth: expected 'yes' or 'no', got {note['truth']!r}")
    elif missing := [name for name in (*note["truth"], *note["hallu"]) if name not in words.associated]:
        raise DataError(f"{where}: expected objects of relation.json, got {missing[0]!r}")


def _words(files: OfficialFiles) -> _Words:
    associated = files.document("relation")
    with files.reading("relation") as path:
        if not all(isinstance(own, list) for own in associated.values()):
            raise DataError(f"{path}: expected an object of lists")
        known = {word.lower() for key, own in associated.items() for word in (key, *own) if " " not in word}
        vocabulary = ObjectVocabulary.of(sorted(known))
    safe = decode(file_bytes(files.path("safe")), str(files.path("safe"))).splitlines()
    return _Words(associated, frozenset(filter(None, safe)), vocabulary)


def _described(said: str, note: Mapping[str, Any], words: _Words) -> list[float]:
    """The counts of one description."""
    present, typical = _owners(note["truth"], words), _owners(note["hallu"], words)
    mentioned = words.vocabulary.mentions(said)
    wrong = [word for word in mentioned if word not in words.safe and word not in present]
    covered = {present[word] for word in mentioned if word not in words.safe and word in present}
    cognitive = {typical[word] for word in wrong if word in typical}
    counts = (len(wrong), len(mentioned), len(covered), len(note["truth"]))
    return [*counts, bool(wrong), 1, len(cognitive), len(note["hallu"])]


def _owners(objects: Sequence[str], words: _Words) -> dict[str, int]:
    """Word -> the first object that it stands for; associated words go before the objects, as in the official code."""
    pairs = [(word, place) for place, name in enumerate(objects) for word in words.associated[name]]
    pairs += [(name, place) for place, name in enumerate(objects)]
    return dict(reversed(pairs))


def _answered(said: str, truth: str) -> list[float]:
    """The counts of one answer to a yes/no question."""
    first = _FIRST.match(said)
    word = first[1].lower() if first else ""
    no = word == "no"
    return [word == truth, 1, no and truth == "no", truth == "no", no]


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """The figures of descriptions and of answers."""
    counts = np.zeros((len(items), _COUNTS + _ANSWERS * len(_ORDER)))
    for row, item, said in zip(counts, items, answers, strict=True):
        note, words = item.gold
        if note["type"] == GENERATIVE:
            row[:_COUNTS] = _described(said, note, words)
        else:
            start = _COUNTS + _ANSWERS * _ORDER.index(_KINDS.get(note["type"], "relation"))
            row[start : start + _ANSWERS] = _answered(said, note["truth"])
    sums = counts.sum(axis=0)
    figures: dict[str, float] = {}
    if sums[5]:
        pairs = dict(zip(("chair", "cover", "hal", "cog"), range(0, _COUNTS, 2), strict=True))
        figures |= {name: float(_percent(sums[place], sums[place + 1])) for name, place in pairs.items()}
    kinds = sums[_COUNTS:].reshape(-1, _ANSWERS)
    for name, own in (("", kinds.sum(axis=0)), *zip((f"{kind} " for kind in _ORDER), kinds, strict=True)):
        if own[1]:
            values = (_percent(own[0], own[1]), *_of_no(own))
            figures |= {
                f"{name}{figure}": float(value)
                for figure, value in zip(("accuracy", "precision", "recall", "f1"), values, strict=True)
            }
    return Scored({"amber": float(_amber(sums)), **figures}, counts.tolist(), _amber)


def _percent(part: Any, whole_: Any) -> Any:
    return 100 * part / (whole_ + (whole_ == 0))


def _of_no(own: NDArray[Any]) -> tuple[Any, Any, Any]:
    """Precision, recall and F1 of No from ``[..., 5]``."""
    precision, recall = _percent(own[..., 2], own[..., 4]), _percent(own[..., 2], own[..., 3])
    return precision, recall, 2 * _percent(own[..., 2], own[..., 3] + own[..., 4])


def _amber(sums: NDArray[Any]) -> NDArray[Any]:
    """AMBER's score; without descriptions F1, without yes/no questions 100 - chair."""
    answers = sums[..., _COUNTS:].reshape(*sums.shape[:-1], -1, _ANSWERS).sum(axis=-2)
    chair, f1 = 100 - _percent(sums[..., 0], sums[..., 1]), _of_no(answers)[2]
    described, asked = sums[..., 5] > 0, answers[..., 1] > 0
    found: NDArray[Any] = (chair * described + f1 * asked) / np.maximum(1, described * 1 + asked)
    return found


def _write(path: Path, items: Sequence[Item], answers: Sequence[str], _: OfficialFiles) -> None:
    """``[{"id", "response"}]`` for the official ``inference.py``."""
    rows = []
    for item, said in zip(items, answers, strict=True):
        first = _FIRST.match(said)
        plain = first[1].capitalize() if first and first[1].lower() in ("yes", "no") else said
        rows.append({"id": int(item.name), "response": said if item.gold[0]["type"] == GENERATIVE else plain})
    write_json(path, rows)


BENCHMARK = Benchmark(
    name="amber_exact",
    published=PUBLISHED["amber_exact"],
    read=read,
    score=score,
    main="amber",
    tokens=256,
    results=ResultsFile(name="amber_responses.json", write=_write),
)
