"""LLaVA's JSON: what it means, what is refused, and that what we write reads back."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.formats.llava import read_llava, write_llava
from inlay.recipes.data.rows.sample import DataError, Sample

Item = Callable[..., dict[str, Any]]
WriteJson = Callable[[Any], Path]


def user(text: str, *sources: Path) -> Message:
    return Message("user", (*(MediaPart("image", source) for source in sources), TextPart(text)))


def assistant(text: str) -> Message:
    return Message("assistant", (TextPart(text),))


@pytest.mark.parametrize(
    "said", ["<image>\nWhat?", "What?\n<image>", "<image>What?", " <image> What? ", "\n<image>\n\nWhat?"]
)
def test_the_marker_moves_to_the_front_of_its_turn(write_json: WriteJson, item: Item, images: Path, said: str) -> None:
    [sample] = read_llava(write_json([item(said, "A disc.", image="1.png")]), images)
    assert sample.messages == (user("What?", images / "1.png"), assistant("A disc."))


def test_a_marker_inside_a_sentence_leaves_its_surroundings(write_json: WriteJson, item: Item, images: Path) -> None:
    [sample] = read_llava(write_json([item("See <image>\nnow", "Yes", image="1.png")]), images)
    assert sample.messages[0] == user("See \nnow", images / "1.png")


def test_a_marker_alone_is_a_turn_without_text(write_json: WriteJson, item: Item, images: Path) -> None:
    [sample] = read_llava(write_json([item("<image>", "A disc.", image="1.png")]), images)
    assert sample.messages[0].content == (MediaPart("image", images / "1.png"),)


def test_several_images_go_to_their_markers_in_order(write_json: WriteJson, item: Item, images: Path) -> None:
    path = write_json([item("<image>one", "a", "<image>two", "b", image=["1.png", "sub/2.png"])])
    [sample] = read_llava(path, images)
    assert [message.content[0] for message in sample.messages[::2]] == [
        MediaPart("image", images / "1.png"),
        MediaPart("image", images / "sub/2.png"),
    ]


def test_text_only_items_need_no_folder_and_keep_their_text(write_json: WriteJson, item: Item) -> None:
    [sample] = read_llava(write_json([item(" hello ", " hi ")]), None)
    assert sample == Sample("7", (user(" hello "), assistant(" hi ")), sample.origin)


def test_paths_are_absolute_even_if_the_folder_is_not(
    write_json: WriteJson, item: Item, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(images.parent)
    [sample] = read_llava(write_json([item("<image>?", "a", image="1.png")]), Path("images"))
    assert sample.messages[0].content[0] == MediaPart("image", images / "1.png")


def test_the_origin_counts_items_from_zero(write_json: WriteJson, item: Item) -> None:
    samples = read_llava(write_json([item("a", "b"), item("a", "c", id="8")]), None)
    assert samples[1].origin.endswith("train.json, item 1")


def test_the_optional_fields_are_read(write_json: WriteJson, item: Item) -> None:
    path = write_json([item("a", "b", "c", "d", types=["x", "y"], answers=["d", "e"], description="A disc.")])
    [sample] = read_llava(path, None)
    assert (sample.kinds, sample.answers, sample.description) == (("x", "y"), ((), ("d", "e")), "A disc.")


def test_answers_may_be_given_for_every_turn(write_json: WriteJson, item: Item) -> None:
    [sample] = read_llava(write_json([item("a", "b", "c", "d", answers=[["b"], ["d", "e"]])]), None)
    assert sample.answers == (("b",), ("d", "e"))


def test_an_id_that_comes_again_with_another_conversation_is_numbered(write_json: WriteJson, item: Item) -> None:
    samples = read_llava(write_json([item("a", "b"), item("a", "c"), item("a", "d")]), None)
    assert [sample.id for sample in samples] == ["7", "7#2", "7#3"]


def test_an_item_without_id_is_named_by_its_place(write_json: WriteJson, item: Item) -> None:
    made = item("a", "b")
    del made["id"]
    [sample] = read_llava(write_json([made]), None)
    assert sample.id == "item-0"


def test_a_byte_order_mark_is_accepted(tmp_path: Path, item: Item) -> None:
    (tmp_path / "a.json").write_text(json.dumps([item("a", "b")]), encoding="utf-8-sig")
    assert len(read_llava(tmp_path / "a.json", None)) == 1


BAD_ITEMS: list[tuple[str, dict[str, Any], str]] = [
    ("item is text", {"": "text"}, "item 0: expected an object, got text"),
    ("no conversations", {"conversations": None}, "item 0, conversations: expected a list of turns"),
    ("no turns", {"conversations": []}, "item 0, conversations: expected a list of turns"),
    ("turn is text", {"conversations": ["hello"]}, "item 0, turn 0: expected an object"),
    (
        "unknown role",
        {"conversations": [{"from": "tool", "value": "a"}]},
        "turn 0, from: 'tool': calls of tools are not trained",
    ),
    ("role is a list", {"conversations": [{"from": [], "value": "a"}]}, "turn 0, from: expected human, gpt"),
    ("no value", {"conversations": [{"from": "human"}]}, "turn 0, value: expected text, got None"),
    ("value is a number", {"conversations": [{"from": "human", "value": 3}]}, "turn 0, value: expected text, got 3"),
    (
        "half a surrogate",
        {"conversations": [{"from": "human", "value": "\ud800"}]},
        "turn 0, value: expected characters, got an unpaired surrogate",
    ),
    ("marker without image", {"said": ("<image>a", "b")}, "image: 0 image(s) for 1 marker(s)"),
    (
        "two images, one marker",
        {"said": ("<image>", "b"), "image": ["1.png", "sub/2.png"]},
        "2 image(s) for 1 marker(s)",
    ),
    (
        "image is a number",
        {"said": ("<image>a", "b"), "image": 3},
        "image: expected a path, a URL, base64, bytes, or an object with 'bytes' or 'path', got 3",
    ),
    ("image list of numbers", {"said": ("<image>a", "b"), "image": [3]}, "image: expected a path, a URL, base64"),
    (
        "marker in an answer",
        {"said": ("<image>a", "<image>b"), "image": ["1.png"] * 2},
        "image: 2 image(s) for 1 marker(s)",
    ),
    (
        "image leaves the folder",
        {"said": ("<image>a", "b"), "image": "../1.png"},
        "image: '../1.png' leaves the folder",
    ),
    (
        "image is absolute",
        {"said": ("<image>a", "b"), "image": "/etc/passwd"},
        "image: the absolute path '/etc/passwd' lies outside of the folder",
    ),
    (
        "image is a URL",
        {"said": ("<image>a", "b"), "image": "http://host/a.png"},
        "image: expected a file, got the URL",
    ),
    ("image is empty", {"said": ("<image>a", "b"), "image": ""}, "image: expected a path below"),
    ("gpt first", {"conversations": [{"from": "gpt", "value": "a"}]}, "turn 0: expected the user, got the assistant"),
    ("no gpt", {"said": ("a",)}, "expected an answer of the assistant as the last turn"),
    ("empty answer", {"said": ("a", "  \n")}, "all answers of the assistant are empty"),
    ("empty question", {"said": (" ", "b")}, "turn 0: the user's turn is empty"),
    ("id is a list", {"said": ("a", "b"), "id": []}, "id: expected text or an integer"),
    ("id is empty", {"said": ("a", "b"), "id": ""}, "id: expected text or an integer"),
    ("too few types", {"said": ("a", "b", "c", "d"), "types": ["x"]}, "types: expected a list of 2"),
    ("types are numbers", {"said": ("a", "b"), "types": [1]}, "types: expected text, got 1"),
    ("answers are text", {"said": ("a", "b"), "answers": "red"}, "answers: expected a list of answers"),
    ("answers are numbers", {"said": ("a", "b"), "answers": [1]}, "answers: expected text, got 1"),
    ("answers of other turns", {"said": ("a", "b"), "answers": [["b"], ["c"]]}, "answers: expected 1 lists"),
    ("answers are mixed", {"said": ("a", "b", "c", "d"), "answers": [["b"], "c"]}, "answers: expected only lists"),
    ("description is a list", {"said": ("a", "b"), "description": []}, "description: expected text"),
]


@pytest.mark.parametrize(("fields", "message"), [case[1:] for case in BAD_ITEMS], ids=[case[0] for case in BAD_ITEMS])
def test_a_bad_item_is_named(
    write_json: WriteJson, item: Item, images: Path, fields: dict[str, Any], message: str
) -> None:
    fields = dict(fields)
    bad = fields.pop("", None) or item(*fields.pop("said", ("a", "b"))) | fields
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read_llava(write_json([bad]), images)
    assert "train.json, item 0" in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"id": "7"}', "expected a JSON list of records, got an object"),
        (b"[]", "expected at least one record"),
        (b"", "empty, expected JSON"),
        (b'[{"id": "7",}]', "not JSON"),
        (b'[{"id": "caf\xe9"}]', "expected UTF-8, got an invalid byte at position 12"),
        (b"[" * 100_000, "too deeply nested"),
        (b"[" + b"1" * 5_000 + b"]", "not JSON"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read_llava(tmp_path / "a.json", None)
    assert "a.json" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.json: cannot be read: No such file"):
        read_llava(tmp_path / "gone.json", None)


def test_images_without_a_folder_are_an_error(write_json: WriteJson, item: Item) -> None:
    with pytest.raises(DataError, match="item 0, image: the data have media; name their folder"):
        read_llava(write_json([item("<image>a", "b", image="1.png")]), None)


# What a turn's text may be: LLaVA's format strips a turn that has a marker and cannot hold the marker as text.
SAID = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)
SAID = SAID.filter(lambda text: "<image>" not in text)


@given(st.lists(st.tuples(st.integers(0, 2), SAID, SAID), min_size=1, max_size=3))
def test_what_is_written_reads_back(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[int, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("data")
    images = [folder / "images/1.png", folder / "images/sub/2.png"]
    messages = [m for count, said, reply in turns for m in (user(said, *images[:count]), assistant(reply))]
    kinds, answers = tuple("k" for _ in turns), tuple((reply, said) for _, said, reply in turns)
    sample = Sample("7", tuple(messages), "", kinds, answers, "A disc.")
    write_llava(folder / "a.json", [sample], folder / "images")
    [read] = read_llava(folder / "a.json", folder / "images")
    assert replace(read, origin="") == sample


@pytest.mark.parametrize(
    "messages",
    [
        (Message("system", (TextPart("s"),)), user("a"), assistant("b")),
        (user("the text <image>"), assistant("b")),
        (Message("user", (MediaPart("image", Image.new("RGB", (1, 1))),)), assistant("b")),
        (Message("user", (MediaPart("audio", Path("a.wav")),)), assistant("b")),
        (user("a", Path("/elsewhere/1.png")), assistant("b")),
        (user("a"),),
    ],
    ids=["system", "marker", "memory", "audio", "outside", "no answer"],
)
def test_what_the_format_cannot_hold_is_not_written(tmp_path: Path, messages: tuple[Message, ...]) -> None:
    with pytest.raises(DataError, match="sample '7'"):
        write_llava(tmp_path / "a.json", [Sample("7", messages, "")], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    (tmp_path / "a.json").write_text("old")

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DataError if isinstance(error, OSError) else KeyboardInterrupt):
        write_llava(tmp_path / "a.json", [Sample("7", (user("a"), assistant("b")), "")])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "old")]
