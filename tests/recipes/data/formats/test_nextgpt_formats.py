"""NExT-GPT's formats: what each becomes, which reader is chosen, and how bad data are named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart, made_of, media_of
from inlay.recipes.data.formats.nextgpt.instructions import read_nextgpt
from inlay.recipes.data.formats.nextgpt.mosit import read_mosit
from inlay.recipes.data.formats.nextgpt.pairs import read_nextgpt_pairs
from inlay.recipes.data.formats.nextgpt.turns import read_nextgpt_turns
from inlay.recipes.data.formats.read import read_rows, read_samples
from inlay.recipes.data.preparation.reverse import reversed_pairs
from inlay.recipes.data.rows.sample import DataError, Sample

ROOT = Path("/media")


def turn(*said: str, **last: Any) -> list[dict[str, Any]]:
    """Turns, human first; fields of the last one."""
    turns = [{"from": ("human", "gpt")[n % 2], "value": value} for n, value in enumerate(said)]
    return [*turns[:-1], turns[-1] | last]


PAIRS = [{"caption": "rain ", "audio_name": "7.wav"}, {"caption": "a disc", "image_name": "sub/1.png", "id": "one"}]
SHOWN = {"input_video": "3.mp4", "conversations": turn("<video>\nWhat happens?", "A disc rolls.")}
MAKES = {
    "output_audio": "7.wav",
    "audio_captions": "rain",
    "audio_caption_embeddings": "7.wav.npy",
    "conversations": turn("play me rain", "Sure thing! <audio>"),
}
T2M = {
    "audio_captions": ["rain"],
    "audio_caption_embeddings": ["7.wav.npy"],
    "conversations": [
        {"from": "human", "value": "play me rain", "input_modality": "text"},
        {"from": "gpt", "value": "Here.", "caption": "rain", "output_modality": "audio"},
    ],
}
STAGE_3 = {
    "image_name": "1.png",
    "conversation": [
        {"from": "human", "value": "what is this?", "input_modality": "image"},
        {"from": "gpt", "value": "A disc.", "output_modality": "text", "caption": ""},
        {"from": "human", "value": "now as a clip", "input_modality": "text"},
        {"from": "gpt", "value": "", "caption": "a disc that rolls", "output_modality": "video"},
    ],
}
MOSIT = {
    "image_list": [{"image_name": "1.png", "data_source": "own", "caption": "a disc"}],
    "audio_list": [{"audio_name": "7.wav", "data_source": "own", "caption": "rain"}],
    "video_list": [],
    "conversation": turn("Look <Image>a disc</Image> here", "Nice. <Audio>rain</Audio>", "And?", "Nothing."),
}


def only(samples: list[Sample]) -> Sample:
    (sample,) = samples
    return sample


def test_pairs_go_from_the_medium_to_the_caption(write_json: Callable[[Any], Path]) -> None:
    first, second = read_nextgpt_pairs(write_json(PAIRS), ROOT)
    assert first.messages == (
        Message("user", (MediaPart("audio", ROOT / "7.wav"),)),
        Message("assistant", (TextPart("rain"),)),
    )
    assert (first.id, second.id) == ("item-0", "one")
    assert media_of(second.messages) == (MediaPart("image", ROOT / "sub/1.png"),)


@pytest.mark.parametrize("echo", [False, True])
def test_pairs_turned_round_go_from_the_caption_to_the_medium(write_json: Callable[[Any], Path], echo: bool) -> None:
    first, _ = reversed_pairs(read_nextgpt_pairs(write_json(PAIRS), ROOT), echo=echo)
    assert first.messages[0] == Message("user", (TextPart("rain"),))
    made = MadePart("audio", "rain", ROOT / "7.wav")
    assert first.messages[1].content == ((TextPart("rain"), made) if echo else (made,))
    assert first.kinds == ("audio",)


def test_a_dialogue_cannot_be_turned_round(write_json: Callable[[Any], Path]) -> None:
    with pytest.raises(DataError, match=r"train\.json, item 0: expected one medium and one caption"):
        reversed_pairs(read_mosit(write_json([MOSIT]), ROOT))


def test_comprehension_shows_a_medium(write_json: Callable[[Any], Path]) -> None:
    sample = only(read_nextgpt(write_json([SHOWN]), ROOT))
    assert sample.messages[0].content == (MediaPart("video", ROOT / "3.mp4"), TextPart("What happens?"))


def test_generation_makes_a_medium(write_json: Callable[[Any], Path]) -> None:
    sample = only(read_nextgpt(write_json([MAKES]), ROOT, embeddings="/embed"))
    made = MadePart("audio", "rain", ROOT / "7.wav", Path("/embed/7.wav.npy"))
    assert sample.messages[1].content == (TextPart("Sure thing!"), made)


def test_generation_without_folders_has_the_caption_alone(write_json: Callable[[Any], Path]) -> None:
    sample = only(read_nextgpt(write_json([MAKES]), None))
    assert made_of(sample.messages) == (MadePart("audio", "rain"),)


def test_one_item_shows_and_makes(write_json: Callable[[Any], Path]) -> None:
    both = {
        "input_image": ["1.png", "2.png"],
        "image_captions": ["a ring"],
        "conversations": turn("<image> and <image>: what next?", "This <image>", "thanks", "welcome"),
    }
    sample = only(read_nextgpt(write_json([both]), ROOT))
    assert [part.source.name for part in media_of(sample.messages)] == ["1.png", "2.png"]
    assert sample.messages[0].text == "and : what next?"
    assert made_of(sample.messages) == (MadePart("image", "a ring"),)


def test_t2m_turns_name_what_they_make(write_json: Callable[[Any], Path]) -> None:
    sample = only(read_nextgpt_turns(write_json([T2M]), None, embeddings="/embed"))
    made = MadePart("audio", "rain", None, Path("/embed/7.wav.npy"))
    assert sample.messages[1].content == (TextPart("Here."), made)


def test_stage_3_turns_show_and_make(write_json: Callable[[Any], Path]) -> None:
    sample = only(read_nextgpt_turns(write_json([STAGE_3]), ROOT))
    assert sample.messages[0].content == (MediaPart("image", ROOT / "1.png"), TextPart("what is this?"))
    assert sample.messages[1].content == (TextPart("A disc."),)
    assert sample.messages[3].content == (MadePart("video", "a disc that rolls"),)


def test_mosit_takes_files_by_their_captions(write_json: Callable[[Any], Path]) -> None:
    sample = only(read_mosit(write_json([MOSIT]), ROOT))
    assert sample.messages[0].content == (TextPart("Look"), MediaPart("image", ROOT / "1.png"), TextPart(" here"))
    assert sample.messages[1].content == (TextPart("Nice."), MadePart("audio", "rain", ROOT / "7.wav"))


def test_mosit_takes_bare_markers_in_order(write_json: Callable[[Any], Path]) -> None:
    item = MOSIT | {"conversation": turn("Look <image>", "Nice. <audio>")}
    sample = only(read_mosit(write_json([item]), ROOT))
    assert media_of(sample.messages) == (MediaPart("image", ROOT / "1.png"),)
    assert made_of(sample.messages)[0].caption == "rain"


@pytest.mark.parametrize("item", [PAIRS[0], SHOWN, MAKES, T2M, STAGE_3, MOSIT])
def test_the_file_tells_its_format(write_json: Callable[[Any], Path], tmp_path: Path, item: Any) -> None:
    sample = only(read_rows(write_json([item]), tmp_path))
    assert {part.modality for part in (*media_of(sample.messages), *made_of(sample.messages))}


def test_llava_is_still_llava(write_json: Callable[[Any], Path]) -> None:
    sample = only(read_samples(write_json([{"id": 1, "conversations": turn("a", "b")}])))
    assert sample.messages[1].text == "b"


def changed(item: Any, **fields: Any) -> Any:
    return json.loads(json.dumps(item)) | fields


BAD = [
    (read_nextgpt_pairs, {"caption": "x"}, "item 0: expected one of image_name, audio_name, video_name, got none"),
    (read_nextgpt_pairs, PAIRS[0] | {"image_name": "1.png"}, "got image_name, audio_name"),
    (read_nextgpt_pairs, PAIRS[0] | {"caption": " "}, "caption: expected some text"),
    (read_nextgpt_pairs, PAIRS[0] | {"audio_name": "../7.wav"}, "remove the '..'"),
    (read_nextgpt, changed(SHOWN, input_video=["3.mp4", "4.mp4"]), "input_video: more entries than markers"),
    (read_nextgpt, changed(SHOWN, input_video=[]), "turn 0: <video> without a file left in input_video"),
    (read_nextgpt, changed(MAKES, audio_captions=["a", "b"]), "expected lists of the same length, got output_audio 1"),
    (read_nextgpt, changed(MAKES, audio_captions=[]) | {"output_audio": []}, "needs a caption or a file"),
    (read_nextgpt, changed(SHOWN, conversations=turn("a", "<audio>")), "more markers <audio> than audio_captions"),
    (read_nextgpt, changed(MAKES, conversations=turn("play", "Sure.")), "audio_captions: more entries than markers"),
    (read_nextgpt, changed(SHOWN, conversations=[{"from": "user", "value": ""}]), "from: expected human or gpt"),
    (read_nextgpt, changed(SHOWN, conversations={}), "conversations: expected a list of turns"),
    (read_nextgpt_turns, changed(T2M, conversations=turn("a", "b", output_modality="smell")), "expected text, image"),
    (read_nextgpt_turns, changed(STAGE_3, image_name=[]), "turn 0, input_modality: no file left under input_image"),
    (
        read_nextgpt_turns,
        {"conversations": turn("a", "b", output_modality=["image", "audio"], caption="one")},
        "turn 1, caption: expected one for each of 2 media, got 1",
    ),
    (
        read_nextgpt_turns,
        {"conversations": turn("a", "b", output_modality="image", caption=" ")},
        "caption: expected some",
    ),
    (
        read_nextgpt_turns,
        {"conversations": turn("a", "b", output_modality="image")},
        "<image> than image_captions",
    ),
    (read_mosit, changed(MOSIT, conversation=turn("<Image>a ring</Image>", "b")), "image_list names no file for the"),
    (
        read_mosit,
        changed(MOSIT, conversation=turn("a", "<Audio> </Audio>")),
        "expected a caption between",
    ),
    (
        read_mosit,
        changed(MOSIT, conversation=turn("a", "<video>")),
        "video_list: the turns have more markers <video>",
    ),
    (read_mosit, changed(MOSIT, image_list=[{"caption": ""}]), "image_list[0], caption: expected some text"),
    (read_mosit, changed(MOSIT, image_list="1.png"), "image_list: expected a list of media"),
]


@pytest.mark.parametrize(("read", "item", "message"), BAD)
def test_bad_items_are_named(write_json: Callable[[Any], Path], read: Any, item: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read(write_json([item]), ROOT)
    assert "train.json, item 0" in str(error.value)


@pytest.mark.parametrize("read", [read_nextgpt_pairs, read_nextgpt, read_nextgpt_turns, read_mosit])
def test_an_id_comes_once(write_json: Callable[[Any], Path], read: Any) -> None:
    item: dict[str, Any] = {"id": "7", "conversations": turn("a", "b")}
    if read is read_nextgpt_pairs:
        item |= {"caption": "a", "audio_name": "7.wav"}
    with pytest.raises(DataError, match="item 1, id: '7' is also the id of"):
        read(write_json([item, item]), ROOT)
