"""VQA accuracy overall, by question type and by what is asked about."""

from __future__ import annotations

from typing import Any

from inlay.adapters.conversation.messages import parse_messages
from inlay.recipes.data.rows.sample import Question
from inlay.recipes.evaluation.answering import Answered
from inlay.recipes.evaluation.metrics import choose_metric
from inlay.recipes.evaluation.scores import score, table


def answered(modality: str, kind: str, said: str, right: str) -> Answered:
    media = {"type": modality, modality: f"a.{modality}"}
    message = {"role": "user", "content": [media, {"type": "text", "text": "which?"}]}
    return Answered(Question(parse_messages([message]), right, (right,), kind), said)


VQA: Any = choose_metric("vqa", ())
ROWS = [
    answered("image", "colour", "red", "red"),
    answered("image", "yesno", "no", "yes"),
    answered("audio", "pitch", "low", "high"),
    answered("audio", "yesno", "yes", "yes"),
    answered("audio", "yesno", "no", "no"),
]


def test_questions_about_each_sense_are_counted_apart() -> None:
    scores = score(VQA, ROWS)
    assert scores.by_modality == {"audio": 2 / 3, "image": 1 / 2}
    assert scores.by_type == {"colour": 1.0, "pitch": 0.0, "yesno": 2 / 3}
    assert scores.overall == 3 / 5
    rows = table(VQA, {"adapter": scores}, "x.json").splitlines()
    assert [line.split()[-1] for line in rows[-3:]] == ["66.7", "50.0", "60.0"]
    assert rows[-3].startswith("all of audio")


def test_one_sense_alone_needs_no_row_of_its_own() -> None:
    scores: Any = score(VQA, ROWS[:2])
    assert scores.by_modality == {}
    assert "all of" not in table(VQA, {"adapter": scores}, "x.json")
