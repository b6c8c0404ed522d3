"""Examples for the page: from runs of both miniature worlds, from named files, and from a folder."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.adapters.media.errors import MediaError
from inlay.recipes.demo.examples import examples_of, read_examples
from inlay.recipes.demo.space import _example_files
from inlay.recipes.miniature.datasets.media import build_media
from inlay.recipes.miniature.datasets.pictures import build
from inlay.recipes.serve.errors import ServeError


def kinds(run: Path) -> list[tuple[str, ...]]:
    return [tuple(kind for kind, _ in example.media) for example in examples_of(run)]


def test_a_run_on_pictures_brings_held_out_questions_of_different_kinds(tmp_path: Path) -> None:
    build(tmp_path / "data", 0, scenes=4, test_scenes=7, digits=2, test_digits=2)
    (tmp_path / "config.yaml").write_text("{}\n")
    examples = examples_of(tmp_path)
    assert 1 < len(examples) <= 6
    assert all(Image.open(io.BytesIO(example.media[0][1].data)).format == "PNG" for example in examples)
    asked = [row["conversations"][0]["value"] for row in json.loads((tmp_path / "data" / "test.json").read_text())]
    assert all(any(example.question in text for text in asked) for example in examples)
    assert examples_of(tmp_path / "bundle") == examples


def test_a_run_on_all_senses_brings_each_of_them_and_requests_for_media(tmp_path: Path) -> None:
    pytest.importorskip("soundfile", reason="needs inlay[audio]")
    pytest.importorskip("av", reason="needs inlay[video]")
    build_media(tmp_path / "data", 0, media=4, instructions=6, dialogues=2, test_media=4, test_instructions=8)
    (tmp_path / "config.yaml").write_text("{}\n")
    assert {("image",), ("audio",), ("video",)} <= set(kinds(tmp_path))


def test_a_run_on_named_files_brings_theirs(tmp_path: Path, image_of: Any) -> None:
    image_of(1).save(tmp_path / "1.png")
    turns = [{"from": "human", "value": "<image>\nwhat is shown?"}, {"from": "gpt", "value": "a star"}]
    (tmp_path / "own.json").write_text(json.dumps([{"id": "7", "image": "1.png", "conversations": turns}]))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(f"data: {{test: {tmp_path}/own.json, images: {tmp_path}}}\n")
    (example,) = examples_of(tmp_path / "run")
    assert (example.question, [kind for kind, _ in example.media]) == ("what is shown?", ["image"])


@pytest.mark.parametrize("config", ["data: {test: gone.json}\n", "data: 3\n", "{}\n", None])
def test_a_run_without_held_out_files_has_no_examples(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    assert examples_of(tmp_path) == []
    assert examples_of("owner/name") == []


def test_a_damaged_file_costs_the_examples_and_not_the_page(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "own.json").write_text("[{")
    (tmp_path / "config.yaml").write_text(f"data: {{test: {tmp_path}/own.json}}\n")
    assert examples_of(tmp_path) == []
    assert "no examples for the page" in capsys.readouterr().err


def test_a_folder_of_examples_is_read_as_it_is_written(tmp_path: Path) -> None:
    build(tmp_path / "data", 0, scenes=4, test_scenes=7, digits=2, test_digits=2)
    (tmp_path / "config.yaml").write_text("{}\n")
    examples = examples_of(tmp_path)
    for name, data in _example_files(examples).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert [example.question for example in read_examples(tmp_path / "examples")] == [
        example.question for example in examples
    ]
    assert read_examples(tmp_path / "examples")[0].media[0][1].data == examples[0].media[0][1].data


@pytest.mark.parametrize(
    "item", [3, {}, {"question": 3}, {"question": "a", "media": [{"kind": "smell", "file": "1"}]}, {"media": []}]
)
def test_an_example_in_another_form_is_named(tmp_path: Path, item: Any) -> None:
    (tmp_path / "examples.json").write_text(json.dumps({"examples": [item]}))
    with pytest.raises(ServeError, match=r"examples\[0\]: expected an object with question"):
        read_examples(tmp_path)


def test_an_example_does_not_leave_its_folder(tmp_path: Path) -> None:
    media = [{"kind": "image", "file": "../secret.png"}]
    (tmp_path / "examples.json").write_text(json.dumps({"examples": [{"question": "a", "media": media}]}))
    with pytest.raises(MediaError, match=r"secret\.png"):
        read_examples(tmp_path)
