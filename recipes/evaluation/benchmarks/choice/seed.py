"""SEED-Bench: multiple choice about pictures and clips (Li et al., 2023, https://arxiv.org/abs/2307.16125).

Accuracy overall, of pictures and of clips, and by type of question. Clips are represented by their middle frames, as in
the evaluation of LLaVA-1.5; without a folder of them only the questions about pictures are asked. The letter of the
generated answer counts; the official code ranks the options by their likelihood. The results file is the official one,
a line ``{"question_id", "prediction"}`` for each question.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from inlay.hub.safety.atomic import write_file
from inlay.recipes.data.rows.records import filled, table
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, ResultsFile, Scored, mean_of_counts
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import LETTER, about, with_options
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED
from inlay.recipes.evaluation.metrics.choice import chosen_option

__all__ = ["BENCHMARK", "read", "score"]

_LETTERS = "ABCD"
_CLIPS = "SEED-Bench-video-image"


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """All questions; `gold` is the right letter, the options, the type of data and the type of question."""
    with_clips = any((files.media_root / folder / _CLIPS).is_dir() for folder in (".", "images"))
    items = []
    with files.reading("questions") as path:
        document, rows = table(path, "questions")
        kinds = {number: name for name, number in document["question_type"].items()}
        for number, row in enumerate(rows):
            where = f"{path}, question {number}"
            name = str(row["question_id"])
            letter, data, kind = row["answer"], row["data_type"], kinds[row["question_type_id"]]
            if letter not in tuple(_LETTERS) or data not in ("image", "video"):
                raise DataError(
                    f"{where}: expected an answer A to D and data_type image or video, got {letter!r}, {data!r}"
                )
            if data == "video" and not with_clips:
                continue
            file = f"{_CLIPS}/{name}.png" if data == "video" else f"SEED-Bench-image/{filled(row, 'data_id', where)}"
            options = [filled(row, f"choice_{small}", where) for small in "abcd"]
            question = with_options(filled(row, "question", where), options)
            gold = (letter, tuple(options), data, kind)
            prompt = about(files.medium("image", file, file.partition("/")[2]), question, instruction)
            items.append(Item(name, prompt, gold, kind, cluster=str(row["data_id"])))
    return items


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """Accuracy, overall and by type."""
    right, kinds = [], dict[str, list[float]]()
    for item, said in zip(items, answers, strict=True):
        letter, options, data, kind = item.gold
        right.append(float(chosen_option(said, dict(zip(_LETTERS, options, strict=True))) == letter))
        for name in (data, kind):
            kinds.setdefault(name, []).append(right[-1])
    figures = {"accuracy": 100 * sum(right) / len(right)}
    figures |= {name: 100 * sum(values) / len(values) for name, values in kinds.items()}
    return Scored(figures, [(value, 1) for value in right], mean_of_counts)


def _write(path: Path, items: Sequence[Item], answers: Sequence[str], _: OfficialFiles) -> None:
    lines = []
    for item, said in zip(items, answers, strict=True):
        letter = chosen_option(said, dict(zip(_LETTERS, item.gold[1], strict=True)))
        lines.append(json.dumps({"question_id": item.name, "prediction": letter or said}, ensure_ascii=False))
    write_file(path, ("\n".join(lines) + "\n").encode())


BENCHMARK = Benchmark(
    name="seed",
    published=PUBLISHED["seed"],
    read=read,
    score=score,
    main="accuracy",
    instruction=LETTER,
    results=ResultsFile(name="seed_results.jsonl", write=_write),
)
