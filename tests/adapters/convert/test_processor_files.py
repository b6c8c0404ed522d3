"""What the processor's files of a folder say: squares of pictures, and the layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert import ConvertError
from inlay.adapters.convert.processor_files import geometry_of, layout_of
from inlay.adapters.convert.source import Source

SQUARE = {"height": 16, "width": 16}


def source(folder: Path, **files: Any) -> Source:
    for name, held in {"config": {"vision_config": {"image_size": 16}}, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(held))
    return Source(folder)


@pytest.mark.parametrize(
    ("processor", "geometry"),
    [
        ({"size": SQUARE}, "squash"),
        ({"size": SQUARE, "do_center_crop": False, "crop_size": SQUARE}, "squash"),
        ({"size": {"shortest_edge": 16}, "crop_size": SQUARE}, "crop"),
        ({"size": 16, "do_center_crop": True, "crop_size": 16}, "crop"),
        ({"size": {"shortest_edge": 16}, "crop_size": SQUARE, "do_center_crop": True, "do_pad": True}, "pad"),
    ],
)
def test_the_processor_decides_how_pictures_become_squares(tmp_path: Path, processor: Any, geometry: str) -> None:
    assert geometry_of(source(tmp_path, preprocessor_config=processor)) == geometry


def test_without_a_processor_pictures_are_squashed(tmp_path: Path) -> None:
    assert geometry_of(source(tmp_path)) == "squash"


@pytest.mark.parametrize(
    ("processor", "reason"),
    [
        ({"size": {"height": 32, "width": 32}}, r"squares of 16 pixels \(vision_config.image_size\), got 32"),
        ({"size": {"height": 16, "width": 24}}, "got 16 x 24"),
        ({"size": {"shortest_edge": 16}, "do_center_crop": False}, "keeps the aspect ratio"),
    ],
)
def test_a_processor_without_squares_of_the_tower_is_refused(tmp_path: Path, processor: Any, reason: str) -> None:
    with pytest.raises(ConvertError, match=reason):
        geometry_of(source(tmp_path, preprocessor_config=processor))


@pytest.mark.parametrize("prompt", ["{}", "Question: {} Short answer:", "{}\nAnswer in one word."])
def test_the_prompt_of_a_vicuna_template_is_read(tmp_path: Path, prompt: str) -> None:
    before, after = prompt.split("{}")
    text = f"A chat. USER: <image>\n{before}{{{{ messages[0]['content'][1]['text'] }}}}{after} ASSISTANT:"
    found = layout_of(source(tmp_path, chat_template={"chat_template": text}), None)
    assert (found.template, found.system, found.prompt) == ("vicuna_v1", "A chat.", prompt)


def test_an_exported_layout_is_read_back_for_its_own_template(tmp_path: Path) -> None:
    layout = Layout(template="chat", prompt="{} Be brief.", system="A chat.", stop=("###",))
    place = source(tmp_path, EXPORT={"layout": layout.spec.model_dump(mode="json")})
    assert layout_of(place, None) == layout_of(place, "chat") == layout
    assert layout_of(place, "vicuna_v1").prompt == "{}"


def test_a_damaged_layout_of_an_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"EXPORT.json: layout"):
        layout_of(source(tmp_path, EXPORT={"layout": {"template": "chat", "prompt": 3}}), None)
