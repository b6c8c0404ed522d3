"""TextVQA: questions about text in pictures (Singh et al., 2019, https://arxiv.org/abs/1904.08920).

The accuracy is that of VQA v2 after the word splitting of the official evaluation (``m4c_evaluators.py`` of MMF):
lower case, no commas and question marks, ``'s`` as a word. If LLaVA's file with recognised text is in the folder, its
questions are asked, with ``Reference OCR token: ...``.
"""

from __future__ import annotations

from collections.abc import Sequence

from inlay.recipes.data.rows.records import filled, records, table, whole
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, ResultsFile, Scored, mean_of_counts
from inlay.recipes.evaluation.benchmarks.item import Item
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.prompts import SHORT, about
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED
from inlay.recipes.evaluation.benchmarks.questions.vqav2 import write_server_answers
from inlay.recipes.evaluation.metrics.vqa_accuracy import vqa_accuracy

__all__ = ["BENCHMARK", "read", "score"]


def read(files: OfficialFiles, instruction: str) -> list[Item]:
    """All questions; `gold` is the list of human answers, None in the test set."""
    asked = _with_text(files) if files.has("ocr") else {}
    items = []
    with files.reading("questions") as path:
        for number, row in enumerate(table(path, "data")[1]):
            where = f"{path}, question {number}"
            image, question = filled(row, "image_id", where), filled(row, "question", where)
            if asked and (image, question.lower()) not in asked:
                raise DataError(f"{where}: {files.path('ocr')} has no line for image {image} with this question")
            text = asked.get((image, question.lower()), question)
            gold = row.get("answers")
            if gold is not None and (len(gold) != 10 or not all(isinstance(answer, str) for answer in gold)):
                raise DataError(f"{where}, answers: expected ten texts, got {len(gold)} values")
            prompt = about(files.medium("image", f"{image}.jpg"), text, instruction)
            items.append(Item(str(whole(row, "question_id", where)), prompt, gold, cluster=image))
    return items


def _with_text(files: OfficialFiles) -> dict[tuple[str, str], str]:
    """Image and question -> the question with recognised text; the file's own instruction is left out."""
    with files.reading("ocr") as path:
        found = {}
        for where, row in records(path):
            lines = [line for line in filled(row, "text", where).split("\n") if line != SHORT]
            found[filled(row, "question_id", where), lines[0].lower()] = "\n".join(lines)
    return found


def _words(answer: str) -> str:
    return answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()


def score(items: Sequence[Item], answers: Sequence[str]) -> Scored:
    """TextVQA's accuracy."""
    scores = [
        vqa_accuracy(_words(said), [_words(answer) for answer in item.gold])
        for item, said in zip(items, answers, strict=True)
    ]
    return Scored({"accuracy": 100 * sum(scores) / len(scores)}, [(value, 1) for value in scores], mean_of_counts)


BENCHMARK = Benchmark(
    name="textvqa",
    published=PUBLISHED["textvqa"],
    read=read,
    score=score,
    main="accuracy",
    instruction=SHORT,
    results=ResultsFile(name="textvqa_results.json", write=write_server_answers),
)
