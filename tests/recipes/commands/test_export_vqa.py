"""The miniature's world as VQA v2 and COCO captions: what is written can be read, and is what the world says."""

from __future__ import annotations

import json
import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.commands.export_vqa import answer_type, export_vqa
from inlay.recipes.data import ANSWER_TYPES, read_coco_captions, read_vqa

SIZES = {"scenes": 12, "test_scenes": 7, "digits": 3, "test_digits": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vqa")
    export_vqa(root, 0, **SIZES)
    return root


@pytest.mark.parametrize(("split", "pictures"), [("train", 15), ("val", 9)])
def test_both_formats_can_be_read_again(folder: Path, split: str, pictures: int) -> None:
    images = folder / "images"
    captions = read_coco_captions(folder / f"captions_{split}.json", images)
    questions = read_vqa(folder / f"questions_{split}.json", folder / f"annotations_{split}.json", images)
    assert len(captions) == pictures
    assert {sample.messages[0].content[0] for sample in questions} == {s.messages[0].content[0] for s in captions}
    assert {kind for sample in questions for kind in sample.kinds} <= set(ANSWER_TYPES)


def test_ten_people_answer_and_some_of_them_disagree(folder: Path) -> None:
    notes = [
        note
        for split in ("train", "val")
        for note in json.loads((folder / f"annotations_{split}.json").read_text())["annotations"]
    ]
    given = [[answer["answer"] for answer in note["answers"]] for note in notes]
    assert {len(answers) for answers in given} == {10}
    assert any(len(set(answers)) > 1 for answers in given)
    for note, answers in zip(notes, given, strict=True):
        assert Counter(answers)[note["multiple_choice_answer"]] >= 6
        assert note["answer_type"] == answer_type(note["multiple_choice_answer"])


def test_questions_ask_for_a_word_or_two(folder: Path) -> None:
    notes = json.loads((folder / "annotations_train.json").read_text())["annotations"]
    assert "instruction" not in {note["question_type"] for note in notes}
    assert max(len(note["multiple_choice_answer"].split()) for note in notes) <= 4


def test_no_picture_is_in_both_splits(folder: Path) -> None:
    train, val = (
        {item["image_id"] for item in json.loads((folder / f"questions_{split}.json").read_text())["questions"]}
        for split in ("train", "val")
    )
    assert train
    assert val
    assert not train & val


def test_the_same_seed_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    export_vqa(tmp_path, 0, **SIZES)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((folder / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_it_is_a_command(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[Any] = [part for name, count in SIZES.items() for part in (f"--{name.replace('_', '-')}", str(count))]
    monkeypatch.setattr("sys.argv", ["export_vqa", "--output", str(tmp_path), *sizes])
    runpy.run_module("inlay.recipes.commands.export_vqa", run_name="__main__")
    assert (tmp_path / "questions_val.json").read_bytes() == (folder / "questions_val.json").read_bytes()
