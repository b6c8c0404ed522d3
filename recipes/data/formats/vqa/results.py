"""The result file for the VQA evaluation server: a JSON list of ``{"question_id", "answer"}``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import text
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.rows.write import write_text

__all__ = ["write_vqa_results"]


def write_vqa_results(path: str | Path, answers: Mapping[int, str], questions: Iterable[int] | None = None) -> None:
    """Write answers, atomically.

    Args:
        path: the JSON file; its folder must exist.
        answers: question id -> answer.
        questions: the ids of all questions of the split. The server rejects a file with missing or unknown ids.

    Raises:
        DataError: an id that is not a whole number, an answer that is not text, or missing or unknown ids.
    """
    path = Path(path)
    for question_id, answer in answers.items():
        if not isinstance(question_id, int) or isinstance(question_id, bool) or question_id < 0:
            raise DataError(f"{path}: question_id: expected a whole number from 0, got {shown(question_id)}")
        text(answer, f"{path}, question_id {question_id}, answer")
    if questions is not None:
        wanted = set(questions)
        lacking, other = sorted(wanted - answers.keys()), sorted(answers.keys() - wanted)
        if lacking or other:
            raise DataError(
                f"{path}: expected an answer to each of {len(wanted)} questions; {len(lacking)} are missing "
                f"({shown(lacking[:5])}), {len(other)} have an unknown id ({shown(other[:5])})"
            )
    rows = [{"question_id": question_id, "answer": answer} for question_id, answer in answers.items()]
    write_text(path, json.dumps(rows, ensure_ascii=False) + "\n")
