"""GQA: compositional questions (Hudson and Manning, 2019, https://arxiv.org/abs/1902.09506).

An answer is right if it equals the reference, in lower case and without a period at the end, as in LLaVA's conversion
for the official ``eval.py``. Accuracy overall, of binary and open questions, and by structural and semantic type. The
results file is the input of ``eval.py --predictions``, for consistency, validity and plausibility.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inlay.recipes.data.rows.records import filled, objects
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, ResultsFile, Scored, mean_of_counts
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import SHORT, about
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED
from inlay.recipes.evaluation.benchmarks.results_files import write_json

__all__ = ["BENCHMARK", "read", "score"]


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """All questions; `gold` is the answer, the structural and the semantic type."""
    questions = files.document("questions")
    items = []
    with files.reading("questions") as path:
        for name, row in zip(questions, objects(list(questions.values()), str(path)), strict=True):
            where = f"{path}, question {name}"
            image = filled(row, "imageId", where)
            prompt = about(files.medium("image", f"{image}.jpg"), filled(row, "question", where), instruction)
            gold = (filled(row, "answer", where), row["types"]["structural"], row["types"]["semantic"])
            items.append(Item(name, prompt, gold, cluster=image))
    return items


def _plain(answer: str) -> str:
    return answer.strip().rstrip(".").lower()


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Accuracy, overall and by type."""
    right = [float(_plain(said) == _plain(item.gold[0])) for item, said in zip(items, answers, strict=True)]
    kinds: dict[str, list[float]] = {"accuracy": [], "binary": [], "open": []}
    for value, item in zip(right, items, strict=True):
        _, structural, semantic = item.gold
        shape = "open" if structural == "query" else "binary"
        for kind in ("accuracy", shape, f"structural {structural}", f"semantic {semantic}"):
            kinds.setdefault(kind, []).append(value)
    figures = {kind: 100 * sum(values) / len(values) for kind, values in kinds.items() if values}
    return Scored(figures, [(value, 1) for value in right], mean_of_counts)


def _write(path: Path, items: Sequence[Item], answers: Sequence[str], _: OfficialFiles) -> None:
    rows = zip(items, answers, strict=True)
    write_json(path, [{"questionId": item.name, "prediction": _plain(said)} for item, said in rows])


BENCHMARK = Benchmark(
    name="gqa",
    published=PUBLISHED["gqa"],
    read=read,
    score=score,
    main="accuracy",
    instruction=SHORT,
    results=ResultsFile(name="testdev_balanced_predictions.json", write=_write),
)
