"""Which files make which samples, whatever their format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.data.load import load_data, sets_of, shards_of
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.miniature.datasets.pictures import build
from inlay.recipes.runs import miniature_data
from inlay.recipes.runs.miniature_data import draw_data
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import DataSettings


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
    samples = load_data(settings)
    assert {kind: len(rows) for kind, rows in samples.items()} == dict.fromkeys(
        ("align", "train", "test", "align_test", "mix 1"), 1
    )
    assert samples["test"][0].kinds == ("number",)
    assert [rows[0].messages[-1].text for rows in sets_of("all", samples)] == ["a disc", "2", "a disc"]
    assert sets_of("align", samples) == [samples["align"]]
    assert not (root / "unused").exists()


def test_one_file_for_all_is_one_data_set(root: Path) -> None:
    samples = load_data(DataSettings(train=root / "triples.json"))
    assert len(sets_of("all", samples)) == 1
    assert sets_of("align", samples) == [samples["train"]]


def test_annotations_without_questions_are_refused(root: Path) -> None:
    with pytest.raises(SettingsError, match="needs its questions"):
        DataSettings(annotations=root / "annotations.json")


def test_files_without_a_training_file_are_refused(root: Path) -> None:
    with pytest.raises(SettingsError, match=r"align, images: these files need --data\.train"):
        load_data(DataSettings(align=root / "captions.json", images=root))


def test_captions_are_learnt_one_by_one_and_measured_by_image(root: Path) -> None:
    captions = json.loads((root / "captions.json").read_text())
    captions["annotations"].append({"id": 2, "image_id": 7, "caption": "a red disc"})
    (root / "captions.json").write_text(json.dumps(captions))
    settings = DataSettings(train=root / "captions.json", align_test=root / "captions.json")
    samples = load_data(settings)
    assert [row.messages[-1].text for row in samples["train"]] == ["a disc", "a red disc"]
    assert [row.answers for row in samples["align_test"]] == [(("a disc", "a red disc"),)]


def test_another_number_of_answers_and_another_pattern_can_be_said(root: Path) -> None:
    note = json.loads((root / "annotations.json").read_text())
    note["annotations"][0]["answers"] = [{"answer": "2"}] * 3
    (root / "annotations.json").write_text(json.dumps(note))
    (root / "7.png").rename(root / "picture-7.png")
    files = {"train": root / "questions.json", "annotations": root / "annotations.json"}
    settings = DataSettings(**files, answers=3, pattern="picture-%d.png")
    (sample,) = load_data(settings)["train"]
    assert sample.answers == (("2", "2", "2"),)


def test_shards_are_no_list_of_samples(root: Path) -> None:
    (root / "0.tar").write_bytes(bytes(1024))
    settings = DataSettings(align=root / "{0..0}.tar", train=root / "triples.json")
    assert set(load_data(settings)) == {"train"}
    assert shards_of(settings) == (root / "0.tar",)
    assert shards_of(DataSettings(train=root / "triples.json")) == ()
    with pytest.raises(DataError, match="1 of 1 shards are not files"):
        load_data(DataSettings(align=root / "1.tar", train=root / "triples.json"))
    with pytest.raises(DataError, match=r"webdataset shards go to --data\.align"):
        load_data(DataSettings(train=root / "0.tar"))


def test_the_user_is_told_before_the_miniature_is_drawn_and_only_then(tmp_path: Path, monkeypatch: Any) -> None:
    said: list[str] = []

    def draw(folder: Path, seed: int) -> None:
        assert said == [f"generating the miniature's data in {tmp_path}"]
        build(folder, seed, scenes=4, test_scenes=3, digits=2, test_digits=2)

    monkeypatch.setitem(miniature_data._BUILDERS, "pictures", draw)
    for _ in range(2):
        draw_data(DataSettings(), tmp_path, 0, "pictures", show=said.append)
    assert len(said) == 1
