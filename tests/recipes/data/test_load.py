"""Which files make which samples, whatever their format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.data.load import load_data, sets_of
from inlay.recipes.settings import DataSettings, SettingsError


@pytest.fixture
def root(tmp_path: Path, image_of: Any) -> Path:
    """A folder with VQA v2's two files, captions, and triples about one picture."""
    picture = "7.png"
    image_of().save(tmp_path / picture)
    question = {"question_id": 70, "image_id": 7, "question": "how many?"}
    note = {
        "question_id": 70,
        "image_id": 7,
        "answer_type": "number",
        "multiple_choice_answer": "2",
        "answers": [{"answer": "2"}] * 10,
    }
    write = {
        "questions.json": {"questions": [question]},
        "annotations.json": {"annotations": [note]},
        "captions.json": {
            "images": [{"id": 7, "file_name": picture}],
            "annotations": [{"id": 1, "image_id": 7, "caption": "a disc"}],
        },
        "triples.json": [{"image": picture, "text_input": "what?", "text_output": "a disc"}],
    }
    for name, value in write.items():
        (tmp_path / name).write_text(json.dumps(value))
    return tmp_path


def test_vqa_captions_and_more_sets_come_together(root: Path) -> None:
    settings = DataSettings(
        align=root / "captions.json",
        train=root / "questions.json",
        annotations=root / "annotations.json",
        test=root / "questions.json",
        test_annotations=root / "annotations.json",
        align_test=root / "captions.json",
        mix=(root / "triples.json",),
        images=root,
    )
    samples = load_data(settings, root / "unused", 0)
    assert {kind: len(rows) for kind, rows in samples.items()} == dict.fromkeys(
        ("align", "train", "test", "align_test", "mix 1"), 1
    )
    assert samples["test"][0].kinds == ("number",)
    assert [rows[0].messages[-1].text for rows in sets_of("all", samples)] == ["a disc", "2", "a disc"]
    assert sets_of("align", samples) == [samples["align"]]
    assert not (root / "unused").exists()


def test_one_file_for_all_is_one_data_set(root: Path) -> None:
    samples = load_data(DataSettings(train=root / "triples.json"), root / "unused", 0)
    assert len(sets_of("all", samples)) == 1
    assert sets_of("align", samples) == [samples["train"]]


def test_annotations_without_questions_are_refused(root: Path) -> None:
    with pytest.raises(SettingsError, match="files of your own"):
        load_data(DataSettings(annotations=root / "annotations.json"), root / "unused", 0)
