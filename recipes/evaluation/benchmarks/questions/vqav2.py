"""VQA v2 (Goyal et al., 2017, https://arxiv.org/abs/1612.00837): accuracy against ten human answers.

The questions are those of the validation set with its annotations, or of test-dev and test, whose answers are only on
the server: then the results file is written, and no score is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inlay.recipes.data.formats.vqa.images import PATTERNS
from inlay.recipes.data.formats.vqa.results import write_vqa_results
from inlay.recipes.data.rows.records import filled, table, whole
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, ResultsFile, Scored, mean_of_counts
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import SHORT, about
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED
from inlay.recipes.evaluation.metrics.vqa_accuracy import vqa_accuracy

__all__ = ["BENCHMARK", "read", "score", "write_server_answers"]


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """All questions; `gold` is the type of the answer with the ten human answers."""
    with files.reading("questions") as path:
        document, rows = table(path, "questions")
    answers = _answers(files) if files.has("annotations") and "test" not in path.name else {}
    subtype = document.get("data_subtype")
    patterns = [f"COCO_{subtype}_%012d.jpg", *PATTERNS] if isinstance(subtype, str) and subtype.isalnum() else PATTERNS
    items = []
    with files.reading("questions"):
        for number, row in enumerate(rows):
            where = f"{path}, question {number}"
            name, image = whole(row, "question_id", where), whole(row, "image_id", where)
            if answers and name not in answers:
                raise DataError(f"{where}: {files.path('annotations')} has no annotation of question {name}")
            medium = files.medium("image", *(pattern % image for pattern in patterns))
            prompt = about(medium, filled(row, "question", where), instruction)
            items.append(Item(str(name), prompt, answers.get(name), cluster=str(image)))
    return items


def _answers(files: OfficialFiles) -> dict[int, tuple[str, list[str]]]:
    with files.reading("annotations") as path:
        found = {}
        for number, note in enumerate(table(path, "annotations")[1]):
            where = f"{path}, annotation {number}"
            given = [str(answer["answer"]) for answer in note["answers"]]
            if len(given) != 10:
                raise DataError(f"{where}, answers: expected ten human answers, got {len(given)}")
            found[whole(note, "question_id", where)] = filled(note, "answer_type", where), given
    return found


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """VQA accuracy, overall and by type of answer."""
    scores = [vqa_accuracy(said, item.gold[1]) for item, said in zip(items, answers, strict=True)]
    figures = {"accuracy": 100 * sum(scores) / len(scores)}
    for kind in sorted({item.gold[0] for item in items}):
        own = [value for value, item in zip(scores, items, strict=True) if item.gold[0] == kind]
        figures[kind] = 100 * sum(own) / len(own)
    return Scored(figures, [(value, 1) for value in scores], mean_of_counts)


def write_server_answers(path: Path, items: Sequence[Item], answers: Sequence[str], _: OfficialFiles) -> None:
    """``[{"question_id", "answer"}]``, as the evaluation servers of VQA v2 and TextVQA take it."""
    write_vqa_results(path, {int(item.name): said for item, said in zip(items, answers, strict=True)})


BENCHMARK = Benchmark(
    name="vqav2",
    published=PUBLISHED["vqav2"],
    read=read,
    score=score,
    main="accuracy",
    instruction=SHORT,
    results=ResultsFile(name="vqav2_results.json", write=write_server_answers),
)
