"""POPE: object hallucination (Li et al., 2023, https://arxiv.org/abs/2305.10355).

Three sets of 3,000 yes/no questions about 500 pictures: the objects that are not in the picture are random, frequent
(popular), or frequent together with those that are (adversarial). Accuracy, precision, recall and F1 of *yes* and the
share of yes, for each set; the main figure is the accuracy over all sets.
"""

from __future__ import annotations

from collections.abc import Sequence

from inlay.recipes.data.rows.records import filled, records, whole
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, Scored, mean_of_counts
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import SHORT, about
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED
from inlay.recipes.evaluation.metrics.captions.figures import pope_figures
from inlay.recipes.evaluation.metrics.pope import says_yes

__all__ = ["BENCHMARK", "read", "score"]

SETS = ("random", "popular", "adversarial")


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """The questions of the three sets."""
    items = []
    for part in SETS:
        with files.reading(part) as path:
            for where, row in records(path):
                image, label = filled(row, "image", where), row.get("label")
                if label not in ("yes", "no"):
                    raise DataError(f"{where}, label: expected 'yes' or 'no', got {label!r}")
                prompt = about(files.medium("image", image), filled(row, "text", where), instruction)
                name = f"{part}-{whole(row, 'question_id', where)}"
                items.append(Item(name, prompt, label, part, cluster=image))
    return items


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """POPE's figures by its official parsing of answers."""
    right = [float(says_yes(said) == (item.gold == "yes")) for item, said in zip(items, answers, strict=True)]
    figures = {"accuracy": 100 * sum(right) / len(right)}
    for part in dict.fromkeys(item.part for item in items):
        own = [place for place, item in enumerate(items) if item.part == part]
        found = pope_figures([answers[place] for place in own], [items[place].gold for place in own])
        figures |= {f"{part}_{name}": 100 * value for name, value in found.items()}
    return Scored(figures, [(value, 1) for value in right], mean_of_counts)


BENCHMARK = Benchmark(
    name="pope", published=PUBLISHED["pope"], read=read, score=score, main="accuracy", instruction=SHORT
)
