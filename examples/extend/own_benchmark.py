"""A benchmark: road signs, one CSV file and a folder of pictures.

    inlay evaluate runs/llava --import own_benchmark.py --benchmark signs --root signs/

``read`` returns the questions, ``score`` the figures and the counts from whose sums the main figure is computed. Blind
rows, resuming, ``--limit``, ``--devices`` and ``--against`` are implemented by the command.
"""

from __future__ import annotations

from collections.abc import Sequence

from inlay.recipes import register_benchmark
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, Scored, mean_of_counts
from inlay.recipes.evaluation.benchmarks.csv_rows import csv_rows
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFile, OfficialFiles, Published
from inlay.recipes.evaluation.benchmarks.prompts import SHORT, about

SIGNS = OfficialFile(names=("signs.csv",), layout="CSV with the columns image, question, answer")


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """The questions, in the order of the file."""
    items: list[Item] = []
    with files.reading("signs") as path:
        for _, row in csv_rows(path, "image", "question", "answer"):
            prompt = about(files.medium("image", row["image"]), row["question"], instruction)
            items.append(Item(str(len(items)), prompt, row["answer"], cluster=row["image"]))
    return items


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """The share of answers that equal the reference."""
    right = [said.strip(" .").lower() == item.gold.lower() for item, said in zip(items, answers, strict=True)]
    return Scored({"accuracy": 100 * sum(right) / len(right)}, [(own, 1) for own in right], mean_of_counts)


register_benchmark(
    Benchmark(
        name="signs",
        published=Published(title="Signs", owner="https://example.com/signs", files={"signs": SIGNS}),
        read=read,
        score=score,
        main="accuracy",
        instruction=SHORT,
    )
)
