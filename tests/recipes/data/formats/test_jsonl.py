"""JSONL of messages: what it means and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.conversation.messages import MadePart, MediaPart, TextPart, made_of, media_of
from inlay.recipes.data.formats.jsonl import read_messages_jsonl
from inlay.recipes.data.rows.sample import DataError, questions_of
from inlay.recipes.data.rows.tables import json_table

Line = Callable[..., dict[str, Any]]
WriteLines = Callable[..., Path]
IMAGE = {"type": "image"}


def say(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def test_image_parts_take_the_images_in_order(write_lines: WriteLines, line: Line, images: Path) -> None:
    path = write_lines(line([IMAGE, say("a")], "b", [say("c"), IMAGE], [say("d")], images=["1.png", "sub/2.png"]))
    [sample] = read_messages_jsonl(path, images)
    assert [message.content for message in sample.messages[::2]] == [
        (MediaPart("image", images / "1.png"), TextPart("a")),
        (TextPart("c"), MediaPart("image", images / "sub/2.png")),
    ]


@pytest.mark.parametrize("key", ["path", "image"])
def test_an_image_part_may_bring_its_path(write_lines: WriteLines, line: Line, images: Path, key: str) -> None:
    [sample] = read_messages_jsonl(write_lines(line([IMAGE | {key: "1.png"}], "b")), images)
    assert media_of(sample.messages) == (MediaPart("image", images / "1.png"),)


def test_a_marker_in_the_text_is_only_text(write_lines: WriteLines, line: Line) -> None:
    [sample] = read_messages_jsonl(write_lines(line("<image> </s>", "<image>")), None)
    assert [message.content for message in sample.messages] == [(TextPart("<image> </s>"),), (TextPart("<image>"),)]


def test_a_system_message_may_stand_in_front(write_lines: WriteLines, line: Line) -> None:
    record = line("a", "b")
    record["messages"].insert(0, {"role": "system", "content": "s"})
    assert read_messages_jsonl(write_lines(record), None)[0].messages[0].role == "system"


def test_the_origin_counts_lines_from_one_and_empty_lines_too(write_lines: WriteLines, line: Line) -> None:
    [sample] = read_messages_jsonl(write_lines("", line("a", "b")), None)
    assert sample.id == "line-2"
    assert sample.origin.endswith("train.jsonl, line 2")


def test_windows_line_ends_are_read(write_lines: WriteLines, line: Line) -> None:
    assert len(read_messages_jsonl(write_lines(line("a", "b"), line("c", "d"), end="\r\n"), None)) == 2


def test_the_optional_fields_are_read(write_lines: WriteLines, line: Line) -> None:
    path = write_lines(line("a", "b", id=3, types=["x"], answers=["b", "c"], description="A disc."))
    [sample] = read_messages_jsonl(path, None)
    assert (sample.id, sample.kinds, sample.answers, sample.description) == ("3", ("x",), (("b", "c"),), "A disc.")


TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
BAD_LINES: list[tuple[str, Any, str]] = [
    ("not JSON", '{"messages": [', "not JSON"),
    ("trailing comma", '{"messages": [],}', "not JSON"),
    ("a list", "[]", "expected an object, got a list"),
    ("no messages", {}, "expected the field messages, got no field"),
    ("empty messages", {"messages": []}, "expected at least one message"),
    ("message is text", {"messages": ["a"]}, "message 0: expected an object"),
    ("unknown role", {"messages": [{"role": "human", "content": "a"}]}, "message 0: role: expected one of"),
    ("no content", {"messages": [{"role": "user"}]}, "message 0: content: expected text or a list of parts"),
    ("part is a number", {"messages": [{"role": "user", "content": [3]}]}, "message 0: content[0]: expected text"),
    ("unknown part", {"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "content[0]: type: expected"),
    (
        "text is a number",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
        "expected text, got 1",
    ),
    (
        "half a surrogate",
        {"messages": [{"role": "user", "content": "\ud800"}]},
        "an unpaired surrogate",
    ),
    ("image without entry", {"messages": [{"role": "user", "content": [IMAGE]}]}, "without an entry left in 'images'"),
    (
        "more entries than parts",
        {"messages": [{"role": "user", "content": [IMAGE]}, TURNS[1]], "images": ["1.png"] * 2},
        "images: 1 more image(s) than parts",
    ),
    (
        "images are numbers",
        {"messages": TURNS, "images": [1]},
        "images: expected a path, a URL, base64, bytes, or an object",
    ),
    (
        "path leaves the folder",
        {"messages": [{"role": "user", "content": [IMAGE | {"path": "../a.png"}]}]},
        "message 0, content[0], path: '../a.png' leaves the folder",
    ),
    (
        "path is an object",
        {"messages": [{"role": "user", "content": [IMAGE | {"image": {"bytes": "x"}}]}]},
        "content[0], image: expected base64",
    ),
    (
        "empty answer",
        {"messages": [TURNS[0], {"role": "assistant", "content": " "}]},
        "all answers of the assistant are empty",
    ),
    ("assistant first", {"messages": TURNS[1:]}, "turn 0: expected the user, got the assistant"),
    ("no assistant", {"messages": TURNS[:1]}, "expected an answer of the assistant as the last turn"),
    (
        "system later",
        {"messages": [*TURNS, {"role": "system", "content": "s"}]},
        "a system message is only allowed in front",
    ),
    (
        "an image in an answer without caption and source",
        {"messages": [TURNS[0], {"role": "assistant", "content": ["b", IMAGE]}]},
        "content[1]: a medium in the assistant's turn needs a 'caption', or a source",
    ),
    (
        "a caption that is no text",
        {"messages": [TURNS[0], {"role": "assistant", "content": [{"type": "audio", "caption": 7}]}]},
        "message 1, content[0], caption: expected text, got 7",
    ),
]


@pytest.mark.parametrize(("record", "message"), [case[1:] for case in BAD_LINES], ids=[case[0] for case in BAD_LINES])
def test_a_bad_line_is_named(write_lines: WriteLines, line: Line, images: Path, record: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read_messages_jsonl(write_lines(line("a", "b"), record), images)
    assert "train.jsonl, line 2" in str(error.value)


def test_invalid_utf8_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\n{"messages": "\xff"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: expected UTF-8"):
        read_messages_jsonl(tmp_path / "a.jsonl", None)


def test_an_id_twice_is_an_error(write_lines: WriteLines, line: Line) -> None:
    with pytest.raises(DataError, match=r"line 2, id: 'x' is also the id of .* line 1"):
        read_messages_jsonl(write_lines(line("a", "b", id="x"), line("c", "d", id="x")), None)


def test_a_line_that_is_too_long_is_not_read(
    write_lines: WriteLines, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_table, "MAX_LINE_BYTES", 100)
    with pytest.raises(DataError, match="line 1: expected at most 100 bytes"):
        read_messages_jsonl(write_lines(line("a" * 1000, "b")), None)


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jsonl: expected at least one record"):
        read_messages_jsonl(tmp_path / "a.jsonl", None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl: cannot be read: No such file"):
        read_messages_jsonl(tmp_path / "gone.jsonl", None)


def test_what_the_assistant_makes(write_lines: WriteLines, line: Line, images: Path) -> None:
    drawn = {"type": "image", "caption": "a disc", "path": "1.png", "embedding": "sub/1.npy"}
    record = line("draw a disc", ["Here.", drawn], "now as a sound", [{"type": "audio", "caption": "a beep"}])
    (sample,) = read_messages_jsonl(write_lines(record), images)
    first, second = made_of(sample.messages)
    assert first == MadePart("image", "a disc", images / "1.png", images / "sub" / "1.npy")
    assert second == MadePart("audio", "a beep")
    assert media_of(sample.messages) == ()
    assert [question.made for question in questions_of(sample)] == [(first,), (second,)]


@pytest.mark.parametrize(
    ("field", "files", "kind"),
    [
        ("image", "1.png", "image"),
        ("images", ["1.png"], "image"),
        ("video", "1.mp4", "video"),
        ("videos", ["1.mp4"], "video"),
        ("audios", ["1.wav"], "audio"),
    ],
)
@pytest.mark.parametrize("written", ["part", "marker", "nothing"])
def test_media_of_every_field_reach_the_first_turn(
    write_lines: WriteLines, line: Line, images: Path, field: str, files: Any, kind: Any, written: str
) -> None:
    asked: Any = {"part": [{"type": kind}, say("What?")], "marker": f"<{kind}>What?", "nothing": "What?"}[written]
    [sample] = read_messages_jsonl(write_lines(line(asked, "A disc.", **{field: files})), images)
    name = files if isinstance(files, str) else files[0]
    assert sample.messages[0].content == (MediaPart(kind, images / name), TextPart("What?"))


def test_files_without_parts_stand_in_front_of_a_list_too(write_lines: WriteLines, line: Line, images: Path) -> None:
    [sample] = read_messages_jsonl(write_lines(line([say("What?")], "A disc.", image="1.png")), images)
    assert sample.messages[0].content == (MediaPart("image", images / "1.png"), TextPart("What?"))


def test_a_system_field_is_the_system_message(write_lines: WriteLines, line: Line) -> None:
    [sample] = read_messages_jsonl(write_lines(line("a", "b", system="Be brief.")), None)
    assert (sample.messages[0].role, sample.messages[0].text) == ("system", "Be brief.")


def test_a_medium_under_another_name_is_an_error(write_lines: WriteLines, line: Line, images: Path) -> None:
    with pytest.raises(DataError, match=r"line 1, image_file: '1\.png' would not be read"):
        read_messages_jsonl(write_lines(line("a", "b", image_file="1.png")), images)
