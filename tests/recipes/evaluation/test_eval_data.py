"""What a bundle is measured by, found from the file itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.eval_data import read_held_out
from inlay.recipes.settings.errors import SettingsError


@pytest.fixture
def root(tmp_path: Path, image_of: Any) -> Path:
    image_of().save(tmp_path / "7.png")
    question = {"question_id": 70, "image_id": 7, "question": "how many?"}
    note = {"question_id": 70, "image_id": 7, "answer_type": "number", "multiple_choice_answer": "2"}
    (tmp_path / "questions.json").write_text(json.dumps({"questions": [question]}))
    (tmp_path / "annotations.json").write_text(json.dumps({"annotations": [note | {"answers": [{"answer": "2"}] * 4}]}))
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"image": "7.png", "text": "a disc"}))
    return tmp_path


def test_questions_with_their_annotations_have_answers(root: Path) -> None:
    held = read_held_out(root, root / "questions.json", None, annotations=root / "annotations.json", answers=4)
    assert held.answered
    assert [(question.answers, question.kind, name) for question, _, name in held.asked] == [
        (("2",) * 4, "number", "70")
    ]


def test_questions_alone_have_none(root: Path) -> None:
    held = read_held_out(root, root / "questions.json", root)
    assert not held.answered
    assert [(prompt[-1].text, name) for _, prompt, name in held.asked] == [("how many?", "70")]
    assert [sample.id for sample in held.samples] == ["70"]


def test_another_format_is_read_as_ever(root: Path) -> None:
    held = read_held_out(root, root / "pairs.jsonl", None)
    assert held.answered
    assert [question.reference for question, _, _ in held.asked] == ["a disc"]


@pytest.mark.parametrize(
    ("notes", "told"), [(None, "no questions: give"), ("annotations.json", r"needs its questions: give --data\.test")]
)
def test_no_file_is_an_error(root: Path, notes: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        read_held_out(root, None, None, annotations=root / notes if notes else None)


def test_pope_under_its_own_name_is_json_lines(root: Path) -> None:
    rows = [{"question_id": n, "image": "7.png", "text": "a cat?", "label": "yes"} for n in (1, 2)]
    (root / "coco_pope_random.json").write_text("\n".join(map(json.dumps, rows)))
    assert len(read_held_out(root, root / "coco_pope_random.json", None).asked) == 2


@pytest.mark.parametrize("notes", [None, "annotations.json"])
def test_a_linked_folder_of_images_needs_an_option(root: Path, notes: Any) -> None:
    (root / "project").mkdir()
    for name in ("7.png", "questions.json", "annotations.json"):
        (root / "project" / name).symlink_to(root / name)
    more: dict[str, Any] = {"annotations": root / notes, "answers": 4} if notes else {}
    with pytest.raises(DataError, match="lies outside of the folder"):
        read_held_out(root, root / "questions.json", root / "project", **more)
    assert len(read_held_out(root, root / "questions.json", root / "project", links=True, **more).asked) == 1


def test_a_metric_of_answers_scores_no_conversation_with_generated_media(root: Path) -> None:
    asked = {"input_image": "7.png", "conversation": [_turn("human", "<image>\nWhat?"), _turn("gpt", "A disc.")]}
    drawn = {"image_captions": ["a disc"], "conversation": [_turn("human", "Draw a disc."), _turn("gpt", "<image>")]}
    (root / "mixed.json").write_text(json.dumps([asked, drawn]))
    held = read_held_out(root, root / "mixed.json", root)
    assert [question.reference for question, _, _ in held.asked] == ["A disc."]
    assert [sample.id for sample in held.samples] == ["item-0"]
    assert [sample.id for sample in held.making] == ["item-1"]


def _turn(role: str, text: str) -> dict[str, str]:
    return {"from": role, "value": text}
