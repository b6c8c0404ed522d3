"""Layouts: which conversations and which values are refused."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.layout import Layout, LayoutError, cut_at


def test_unknown_template_names_those_that_exist() -> None:
    with pytest.raises(LayoutError, match="plain, vicuna_v1, chat"):
        Layout(template="alpaca")


def test_text_is_cut_at_the_first_of_several_marks() -> None:
    assert cut_at("two\ncats###x", ["###", "\n"]) == "two"
    assert cut_at("two cats", ["###"]) == "two cats"


def test_a_reply_is_the_text_behind_the_last_speaker() -> None:
    layout = Layout(template="minigpt4")
    assert layout.reply("Assistant: a Assistant: b###Human: c") == "b"
    assert layout.reply(" no speaker ") == "no speaker"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"geometry": {"image": "padd"}}, r"geometry\.image: Input should be 'squash', 'pad' or 'crop', got 'padd'"),
        ({"geometry": {"picture": "pad"}}, "geometry: expected one of image, audio, video, got 'picture'"),
        ({"geometry": "pad"}, "geometry: Input should be"),
        ({"stop": "###"}, r"stop: expected a tuple of texts, got one text; write stop=\('###',\)"),
        ({"stop": 7}, "stop: Input should be a valid tuple, got 7"),
        ({"stop": ("###", "")}, r"stop\.1: String should have at least 1 character"),
        ({"stop": ("a\x00",)}, r"stop\.0: expected plain text"),
        ({"stop": ("x",) * 17}, "stop: Tuple should have at most 16 items"),
        ({"prompt": "{}" * 4096}, "prompt: expected '{}' at most once, got it 4096 times"),
        ({"prompt": "x" * 9000}, "prompt: String should have at most 8192 characters"),
        ({"prompt": 7}, "prompt: Input should be a valid string, got 7"),
        ({"system": 7}, "system: Input should be a valid string, got 7"),
        ({"system": None}, "system: expected text, got None"),
        ({"system": "x" * 9000}, "system: String should have at most 8192 characters"),
        ({"bos": "last"}, "bos: Input should be 'first', 'after_media' or 'none', got 'last'"),
        ({"date": "yesterday"}, "date: String should match pattern"),
        ({"date": "2026-02-30"}, "date: day is out of range"),
        ({"template": "vicuna v1"}, "template: expected one of"),
        ({"template": 7}, "template: expected one of"),
    ],
)
def test_what_a_bundle_cannot_store_is_refused_when_the_layout_is_made(fields: Any, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        Layout(**({"template": "plain"} | fields))


def test_a_list_of_stop_texts_is_taken() -> None:
    assert Layout(template="plain", stop=["###"]).stop == ("###",)


def test_a_layout_gives_what_the_manifest_stores() -> None:
    layout = Layout(
        template="plain", system="Hi.", geometry={"image": "pad"}, stop=("x",), bos="none", date="2026-01-09"
    )
    stored = {"template": "plain", "system": "Hi.", "geometry": {"image": "pad"}, "stop": ["x"], "bos": "none"}
    assert layout.spec.model_dump(mode="json") == stored | {"prompt": "{}", "date": "2026-01-09"}
    assert "date" not in Layout(template="plain").spec.model_dump()


def test_a_tiling_is_stored_with_all_its_settings() -> None:
    layout = Layout(template="plain", tiling="tiles")
    assert layout.tiling == layout.spec.tiling == "tiles:1-12"
    assert "tiling" not in Layout(template="plain").spec.model_dump()


def test_an_unknown_tiling_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LayoutError, match="tiling: expected one of anyres, tiles, split, got 'mosaic'"):
        Layout(template="plain", tiling="mosaic")


def test_pictures_alone_are_tiled() -> None:
    layout = Layout(template="plain", tiling="tiles")
    assert layout.tiling_for("image") is not None
    assert layout.tiling_for("video") is layout.tiling_for("audio") is None
