"""LLaVA files as they are found: how each difference from the documented form is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.conversation.messages import MediaPart, TextPart, media_of
from inlay.recipes.data import DataError, read_samples
from inlay.recipes.data.formats.llava import read_llava
from inlay.recipes.data.preparation.stage_samples import apart
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import Sample, questions_of

WriteJson = Callable[[Any], Path]


def turn(speaker: str, value: str) -> dict[str, str]:
    return {"from": speaker, "value": value}


def row(*turns: dict[str, str], **fields: Any) -> dict[str, Any]:
    return {"id": "7", "conversations": list(turns), **fields}


ASK, SAY = turn("human", "<image>\nWhat?"), turn("gpt", "A disc.")


def said(sample: Sample) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in sample.messages]


def only(path: Path, images: Path | None = None, offenders: Offenders | None = None) -> Sample:
    [sample] = read_llava(path, images, offenders=offenders)
    return sample


def test_a_dialogue_that_begins_with_an_answer_loses_it(write_json: WriteJson, images: Path) -> None:
    offenders = Offenders()
    sample = only(write_json([row(turn("gpt", "Hello."), ASK, SAY, image="1.png")]), images, offenders)
    assert said(sample) == [("user", "What?"), ("assistant", "A disc.")]
    assert "1 row(s) begin with an answer" in offenders.lines()[0]


def test_a_dialogue_that_ends_with_a_question_loses_it_with_its_picture(write_json: WriteJson, images: Path) -> None:
    offenders = Offenders()
    item = row(ASK, SAY, turn("human", "<image>\nAnd this?"), image=["1.png", "sub/2.png"])
    sample = only(write_json([item]), images, offenders)
    assert said(sample) == [("user", "What?"), ("assistant", "A disc.")]
    assert media_of(sample.messages) == (MediaPart("image", images / "1.png"),)
    assert "1 row(s) end with a question" in offenders.lines()[0]


@pytest.mark.parametrize("fields", [{}, {"system": "Be brief."}])
def test_a_system_turn_or_field_is_the_system_message(write_json: WriteJson, fields: dict[str, str]) -> None:
    turns = [turn("human", "a"), turn("gpt", "b")]
    sample = only(write_json([row(*(turns if fields else [turn("system", "Be brief."), *turns]), **fields)]))
    assert said(sample) == [("system", "Be brief."), ("user", "a"), ("assistant", "b")]


def test_two_system_messages_are_an_error(write_json: WriteJson) -> None:
    turns = [turn("system", "x"), turn("human", "a"), turn("gpt", "b")]
    with pytest.raises(DataError, match="item 0, system: the first turn is a different system message"):
        only(write_json([row(*turns, system="y")]))


@pytest.mark.parametrize(("role", "value"), [("from", "value"), ("role", "content")])
def test_roles_have_two_names(write_json: WriteJson, role: str, value: str) -> None:
    turns = [{role: "user", value: "a"}, {role: "assistant", value: "b"}]
    assert said(only(write_json([row(*turns)]))) == [("user", "a"), ("assistant", "b")]


def test_an_image_without_a_marker_stands_in_front(write_json: WriteJson, images: Path) -> None:
    offenders = Offenders()
    item = row(turn("human", "What?"), SAY, turn("human", "Where?"), SAY, image="1.png")
    sample = only(write_json([item]), images, offenders)
    assert sample.messages[0].content == (MediaPart("image", images / "1.png"), TextPart("What?"))
    assert "1 row(s) have image files and no marker" in offenders.lines()[0]


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ("What does <image> do in XML?", {}),
        ("<image>\nIs this an <image> element?", {"image": "1.png"}),
    ],
)
def test_a_marker_inside_a_line_without_a_file_is_text(
    write_json: WriteJson, images: Path, asked: str, fields: dict[str, str]
) -> None:
    offenders = Offenders()
    sample = only(write_json([row(turn("human", asked), SAY, **fields)]), images, offenders)
    assert sample.messages[0].text == asked.removeprefix("<image>\n")
    assert len(media_of(sample.messages)) == len(fields)
    assert "have <image> as a word" in offenders.lines()[0]


def test_a_marker_in_an_answer_is_text(write_json: WriteJson, images: Path) -> None:
    sample = only(write_json([row(ASK, turn("gpt", "Use <image>."), image="1.png")]), images)
    assert sample.messages[1].text == "Use <image>."


def test_the_same_item_twice_is_read_twice(write_json: WriteJson) -> None:
    item = row(turn("human", "a"), turn("gpt", "b"))
    assert [sample.id for sample in read_llava(write_json([item, item]), None)] == ["7", "7#2"]


def test_an_empty_answer_is_history_and_neither_trained_alone_nor_asked_for(write_json: WriteJson) -> None:
    turns = [turn("human", "a"), turn("gpt", ""), turn("human", "c"), turn("gpt", "d")]
    sample = only(write_json([row(*turns)]))
    assert said(sample)[1] == ("assistant", "")
    assert [question.reference for question in questions_of(sample)] == ["d"]
    assert [said(own)[-1] for own in apart(sample)] == [("assistant", "d")]


def test_a_backslash_separates_folders(write_json: WriteJson, images: Path) -> None:
    sample = only(write_json([row(ASK, SAY, image="sub\\2.png")]), images)
    assert media_of(sample.messages) == (MediaPart("image", images / "sub/2.png"),)
    with pytest.raises(DataError, match="leaves the folder"):
        only(write_json([row(ASK, SAY, image="..\\2.png")]), images)
    with pytest.raises(DataError, match="absolute path"):
        only(write_json([row(ASK, SAY, image="C:\\2.png")]), images)


@pytest.mark.parametrize(
    ("field", "marker", "kind"),
    [
        ("video", "<video>\n", "video"),
        ("videos", "<video>", "video"),
        ("audio", "<audio>\n", "audio"),
        ("video", "<image>\n", "video"),
        ("video", "", "video"),
    ],
)
def test_clips_and_sounds_are_read(write_json: WriteJson, tmp_path: Path, field: str, marker: str, kind: Any) -> None:
    sample = only(write_json([row(turn("human", f"{marker}What?"), SAY, **{field: "a.bin"})]), tmp_path)
    assert sample.messages[0].content == (MediaPart(kind, tmp_path / "a.bin"), TextPart("What?"))


def test_media_of_several_kinds_keep_the_order_of_their_markers(write_json: WriteJson, tmp_path: Path) -> None:
    item = row(turn("human", "<audio><image>What?"), SAY, image="1.png", audio="1.wav")
    assert [part.modality for part in media_of(only(write_json([item]), tmp_path).messages)] == ["audio", "image"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_path": "1.png"}, "item 0, image_path: '1.png' would not be read"),
        ({"img": "1.png"}, "item 0, img: '1.png' would not be read"),
        ({"clip": "1.mp4"}, "item 0, clip: '1.mp4' would not be read"),
        ({"sound_file": "1.wav"}, 'remove|write the row as {"messages": [...], "audios": [...]}'),
        ({"image": "1.png", "images": ["1.png"]}, "item 0: expected image or images, got both"),
    ],
)
def test_a_medium_that_nothing_reads_is_an_error(
    write_json: WriteJson, images: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as error:
        only(write_json([row(turn("human", "What?"), SAY, **fields)]), images)
    assert message.split("|")[-1] in str(error.value)


def test_json_lines_under_json_are_read(tmp_path: Path, images: Path) -> None:
    path = tmp_path / "coco_pope_random.json"
    rows = [
        {"question_id": number, "image": "1.png", "text": "Is there a cat in the image?", "label": label}
        for number, label in enumerate(("yes", "no"), 1)
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    assert [sample.messages[1].text for sample in read_samples(path, images)] == ["yes", "no"]


def test_llava_may_be_json_lines(write_lines: Callable[..., Path], images: Path) -> None:
    [sample] = read_samples(write_lines(row(ASK, SAY, image="1.png")), images)
    assert sample.origin.endswith("line 1")


def test_a_linked_folder_of_images_needs_an_option(write_json: WriteJson, images: Path, tmp_path: Path) -> None:
    home = tmp_path / "project"
    home.mkdir()
    (home / "coco").symlink_to(images)
    path = write_json([row(ASK, SAY, image="coco/1.png")])
    with pytest.raises(DataError, match=r"--data\.links true allows"):
        read_samples(path, home)
    assert len(read_samples(path, home, links=True)) == 1
