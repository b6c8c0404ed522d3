"""Requests of lmms-eval as conversations and options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inlay.adapters.media.audio import Sound
from inlay.recipes.lmms_eval.requests import RequestError, conversation, cut_at, medium, options_of, question


def test_media_stand_in_front_of_the_text_of_a_question() -> None:
    (message,) = question("what?", [Image.new("L", (4, 3)), "clip.mp4"])
    first, second, text = message.content
    assert (first.modality, first.source.mode, second.modality, text.text) == ("image", "RGB", "video", "what?")


@pytest.mark.parametrize(
    ("held", "modality"),
    [("a.PNG", "image"), ("a.flac", "audio"), ("a.webm", "video"), ({"type": "video", "url": "a.bin"}, "video")],
)
def test_the_ending_of_a_path_gives_its_modality_unless_the_task_does(held: Any, modality: str) -> None:
    found = medium(held)
    assert (found.modality, type(found.source)) == (modality, type(Path()))


def test_an_audio_row_is_a_sound_of_one_channel() -> None:
    found = medium({"array": np.array([[0.0, 1.0], [1.0, 0.0]]), "sampling_rate": 8000}).source
    assert isinstance(found, Sound)
    assert (found.samples.tolist(), found.rate) == ([0.5, 0.5], 8000)


def test_chat_messages_keep_roles_and_order() -> None:
    content = [{"type": "text", "text": "a"}, {"type": "image", "url": Image.new("RGB", (2, 2))}]
    found = conversation([{"role": "system", "content": content[:1]}, {"role": "user", "content": content}])
    assert [message.role for message in found] == ["system", "user"]
    assert found[1].content[1].modality == "image"


@pytest.mark.parametrize("held", [7, {"type": "video", "url": "a.mp4", "video_start": 2.0}])
def test_what_cannot_be_read_is_refused(held: Any) -> None:
    with pytest.raises(RequestError, match="expected a"):
        medium(held)


def test_a_task_without_a_limit_has_that_of_lmms_eval() -> None:
    assert options_of({}) == ({"max_new_tokens": 1024, "do_sample": False}, (), [])


def test_sampling_options_count_only_when_sampling() -> None:
    assert options_of({"temperature": 0.7, "top_p": 0.9})[0]["top_p"] == 0.9
    assert "top_p" not in options_of({"temperature": 0, "top_p": 0.9})[0]


def test_an_answer_ends_at_the_first_text_that_ends_it() -> None:
    assert cut_at("a b c", ("c", "b", "")) == "a "
    assert cut_at("a b c", ()) == "a b c"
