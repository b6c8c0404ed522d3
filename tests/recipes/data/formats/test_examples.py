"""Every format on its example of ``docs/howto/data/``: recognised, read as expected, and one defect named.

The expected samples are written by hand, see :mod:`format_examples`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from format_examples import EXAMPLES, IMAGES, example, spoilt, written

from inlay.recipes.data import DataError, read_vqa
from inlay.recipes.data.formats import read
from inlay.recipes.data.formats.read import format_of, read_rows
from inlay.recipes.data.formats.registry import FORMATS
from inlay.recipes.data.rows.offenders import Offenders

DISC, RING = "[image 1.png]", "[image 2.png]"
HELLO = ["user: Hello", "assistant: Hello."]

EXPECTED: dict[str, dict[str, list[str]]] = {
    "llava": {
        "1": [f"user: {DISC}|What is this?", "assistant: A disc."],
        "2": [f"user: {DISC}|What is this?", "assistant: A disc.", "user: Its colour?", "assistant: Red."],
        "3": [f"user: {DISC}|{RING}|Which is larger?", "assistant: The first."],
        "4": ["user: [video 1.mp4]|What happens?", "assistant: It rolls."],
        "5": HELLO,
    },
    "sharegpt": {
        "1": ["system: Be brief.", *HELLO],
        "2": ["system: Be brief.", *HELLO],
        "3": [f"user: {DISC}|What is this?", "assistant: A disc."],
        "4": [f"user: Is|{DISC}|larger than|{RING}|?", "assistant: Yes."],
        "5": ["user: [audio 1.wav]|What is heard?", "assistant: Rain."],
    },
    "openai": {
        "line-1": [f"user: What is this?|{DISC}", "assistant: A disc."],
        "line-2": ["user: [image 8 bytes]|And this?", "assistant: A ring."],
        "line-3": ["user: [audio 4 bytes]", "assistant: Rain."],
        "line-4": ["system: Be brief.", *HELLO],
        "line-5": ["user: [video 1.mp4]|What happens?", "assistant: It rolls."],
    },
    "messages": {
        "line-1": [f"user: {DISC}|What is this?", "assistant: A disc."],
        "line-2": [f"user: {DISC}|What is this?", "assistant: A disc."],
        "line-3": [f"user: Is|{DISC}|larger than|{RING}|?", "assistant: Yes."],
        "line-4": ["system: Be brief.", "user: [audio 1.wav]|What is heard?", "assistant: Rain."],
        "line-5": ["user: [video 1.mp4]|What happens?", "assistant: It rolls."],
    },
    "trl": {
        "line-1": ["user: The sky is", "assistant: blue."],
        "line-2": ["user: What colour is the sky?", "assistant: It is blue."],
        "line-3": ["system: Be brief.", f"user: {DISC}|What is this?", "assistant: A disc."],
        "line-4": [f"user: What is|{DISC}|this?", "assistant: A disc."],
        "line-5": [f"user: {DISC}|What is this?", "assistant: A disc."],
    },
    "swift": {
        "line-1": HELLO,
        "line-2": [f"user: {DISC}|Its colour?", "assistant: Red."],
        "line-3": [
            "system: Be brief.",
            *(f"user: {DISC}|What is this?", "assistant: A disc.", "user: Its colour?", "assistant: Red."),
        ],
        "line-4": ["user: [audio 1.wav]|What is heard in|[video 1.mp4]|?", "assistant: Rain."],
        "line-5": [
            "system: Be brief.",
            *(f"user: {DISC}|What is this?", "assistant: A disc.", "user: Its colour?", "assistant: Red."),
        ],
    },
    "alpaca": {
        "item-0": ["user: Name a colour.", "assistant: Red."],
        "item-1": ["system: Be brief.", "user: Translate.\nrouge", "assistant: red"],
        "item-2": [f"user: {DISC}|What is this?", "assistant: A disc."],
        "item-3": [f"user: {DISC}|What is this?", "assistant: A disc.", "user: Its colour?", "assistant: Red."],
        "item-4": ["user: [video 1.mp4]|[audio 1.wav]|What is heard?", "assistant: Rain."],
    },
    "question_answer": {
        "line-1": [f"user: {DISC}|What is this?", "assistant: disc"],
        "line-2": [f"user: {DISC}|Its colour?", "assistant: red", "answers: red, dark red, red"],
        "7": [f"user: {DISC}|How many?", "assistant: two", "answers: 2, two", "kind: number"],
        "line-4": ["user: [audio 1.wav]|What is heard?", "assistant: rain"],
        "t": ["user: Two and two?", "assistant: four", "answers: four, 4"],
    },
    "pairs": {
        "line-1": [f"user: {DISC}", "assistant: A disc."],
        "line-2": ["user: [audio 1.wav]", "assistant: Rain."],
        "r": ["user: [video 1.mp4]", "assistant: A disc rolls."],
        "line-4": [f"user: {RING}", "assistant: A ring.", "answers: A ring., A blue ring."],
        "line-5": ["user: [image 8 bytes]", "assistant: A ring."],
    },
    "triples": {
        "item-0": [f"user: {DISC}|What is this?", "assistant: A disc."],
        "item-1": [f"user: {DISC}|Its colour?", "assistant: Red."],
        "7": [f"user: {RING}|What is this?", "assistant: A ring."],
        "item-3": [f"user: {RING}|Its colour?", "assistant: Blue."],
        "item-4": [f"user: {RING}|Describe it.", "assistant: A blue ring."],
    },
    "pope": {
        "1": [f"user: {DISC}|Is there a disc in the image?", "assistant: yes", "kind: yes/no"],
        "2": [f"user: {DISC}|Is there a ring in the image?", "assistant: no", "kind: yes/no"],
        "3": [f"user: {RING}|Is there a ring in the image?", "assistant: yes", "kind: yes/no"],
        "4": [f"user: {RING}|Is there a disc in the image?", "assistant: no", "kind: yes/no"],
        "5": [f"user: {RING}|Is there a dog in the image?", "assistant: no", "kind: yes/no"],
    },
    "coco_captions": {
        "11": [f"user: {DISC}", "assistant: A disc.", "answers: A disc., A red disc."],
        "12": [f"user: {DISC}", "assistant: A red disc.", "answers: A disc., A red disc."],
        "13": [f"user: {RING}", "assistant: A ring.", "answers: A ring."],
    },
    "filter_cap": {
        "1": ["user: [image 1.jpg]", "assistant: The picture shows a disc."],
        "2": ["user: [image 2.jpg]", "assistant: The picture shows a ring."],
        "3": ["user: [image 3.jpg]", "assistant: The picture shows a square."],
    },
    "modaverse": {
        "item-0": [f"user: {DISC}|What is this?", "assistant: A disc."],
        "item-1": ["user: Draw a disc.", "assistant: {image: a disc}"],
        "item-2": [f"user: {DISC}|Make it a sound.", "assistant: {audio: a beep}"],
        "item-3": ["user: [audio 1.wav]|What is heard?", "assistant: Rain."],
        "item-4": ["user: Show and play rain.", "assistant: {image: rain}|{audio: rain}"],
    },
    "nextgpt_pairs": {
        "item-0": [f"user: {DISC}", "assistant: A disc."],
        "item-1": ["user: [audio 1.wav]", "assistant: Rain."],
        "item-2": ["user: [video 1.mp4]", "assistant: A disc rolls."],
        "item-3": [f"user: {RING}", "assistant: A ring."],
        "7": [f"user: {RING}", "assistant: A blue ring."],
    },
    "nextgpt": {
        "item-0": [f"user: {DISC}|What is this?", "assistant: A disc."],
        "item-1": ["user: [audio 1.wav]|What is heard?", "assistant: Rain."],
        "item-2": ["user: Draw a disc.", "assistant: Here:|{image: a disc}"],
        "item-3": ["user: Let it roll.", "assistant: {video: a disc rolls}"],
        "item-4": HELLO,
    },
    "nextgpt_turns": {
        "item-0": ["user: Draw a disc.", "assistant: Here it is.|{image: a disc}"],
        "item-1": [f"user: {DISC}|What is this?", "assistant: A disc."],
        "item-2": ["user: Play rain.", "assistant: Here.|{audio: rain}"],
        "item-3": ["user: [audio 1.wav]|What is heard?", "assistant: Rain."],
        "item-4": HELLO,
    },
    "mosit": {
        "item-0": [f"user: {DISC}|What is this?", "assistant: A disc."],
        "item-1": ["user: Draw a ring.", "assistant: Here.|{image: a ring}"],
        "item-2": ["user: [audio 1.wav]|What is heard?", "assistant: Rain."],
        "item-3": ["user: [video 1.mp4]|What happens?", "assistant: It rolls."],
        "item-4": HELLO,
    },
}
"""Format -> id of a sample -> its turns, answers and kinds."""


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_is_read_as_expected(name: str) -> None:
    samples = read_rows(example(name), IMAGES, per="caption", format_name=name)
    assert {sample.id: written(sample) for sample in samples} == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_is_recognised_by_its_first_rows(name: str) -> None:
    shape, first = read._beginning(example(name))
    assert format_of(first, example(name), shape) is FORMATS[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_no_field_of_an_example_is_left_unread(name: str) -> None:
    offenders = Offenders()
    read_rows(example(name), IMAGES, offenders=offenders)
    assert not [line for line in offenders.lines() if "not read" in line]


def test_the_two_files_of_vqa_are_read_as_expected() -> None:
    questions, notes = EXAMPLES / "vqa_questions.json", EXAMPLES / "vqa_annotations.json"
    samples = read_vqa(questions, notes, IMAGES, answers=2, pattern="%d.png", offenders=Offenders(collect=True))
    assert {sample.id: written(sample) for sample in samples} == {
        "1": [f"user: {DISC}|What is this?", "assistant: disc", "answers: disc, circle", "kind: other"],
        "2": [f"user: {DISC}|Its colour?", "assistant: red", "answers: red, red", "kind: other"],
        "3": [f"user: {RING}|How many?", "assistant: 2", "answers: 2, two", "kind: number"],
    }


DEFECTS: list[tuple[str, int, Callable[[dict[str, Any]], object], str]] = [
    ("llava", 1, lambda row: row["conversations"][0].update(value=7), "item 1, turn 0, value: expected text, got 7"),
    ("llava", 1, lambda row: row.update(picture="x.png", image=None), "item 1, picture: 'x.png' would not be read"),
    ("llava", 2, lambda row: row.update(image="../1.png"), "item 2, image: '../1.png' leaves the folder"),
    ("sharegpt", 4, lambda row: row.update(tools="[{}]"), "line 5, tools: calls of tools are not trained"),
    (
        "sharegpt",
        0,
        lambda row: row["conversations"].insert(2, {"from": "function_call", "value": "{}"}),
        "line 1, turn 2, from: 'function_call': calls of tools",
    ),
    ("sharegpt", 3, lambda row: row.update(images=["1.png"]), "line 4, image: 1 image(s) for 2 marker(s)"),
    (
        "openai",
        1,
        lambda row: row["messages"][0]["content"][0].update(image_url={"url": "https://host/1.png"}),
        "line 2, message 0, content[0], image_url: expected a file, got the URL 'https://host/1.png'",
    ),
    (
        "openai",
        1,
        lambda row: row["messages"][0]["content"][0].update(type="file"),
        "line 2, message 0: content[0]: type: expected text, image, audio, video, features, got 'file'",
    ),
    (
        "openai",
        3,
        lambda row: row["messages"][2].update(weight=0),
        "line 4, message 2, weight: every answer is trained",
    ),
    (
        "openai",
        3,
        lambda row: row["messages"][2].update(tool_calls=[{}]),
        "line 4, message 2, tool_calls: calls of tools are not trained",
    ),
    ("messages", 1, lambda row: row.update(img="1.png", images=None), "line 2, img: '1.png' would not be read"),
    ("messages", 1, lambda row: row["messages"][0].update(images=["a"]), "line 2, message 0, images: ['a'] would not"),
    ("messages", 2, lambda row: row.update(objects={"bbox": [1]}), "line 3, objects: boxes of objects"),
    ("messages", 3, lambda row: row.update(audios=[7]), "line 4, audios: expected a path, a URL"),
    ("trl", 1, lambda row: row.update(rejected="a"), "line 2, rejected: preferences are not trained"),
    ("trl", 4, lambda row: row.update(completion=None), "line 5, completion: expected text or a list of messages"),
    ("trl", 4, lambda row: row.update(label=True), "line 5, label: preferences are not trained"),
    ("swift", 2, lambda row: row.update(history=["a"]), "line 3, history[0]: expected a pair"),
    ("swift", 1, lambda row: row.update(response=None), "line 2, response: expected text, got None"),
    ("alpaca", 1, lambda row: row.update(output=7), "item 1, output: expected text, got 7"),
    ("alpaca", 3, lambda row: row.update(kto_tag=True), "item 3, kto_tag: preferences are not trained"),
    ("question_answer", 1, lambda row: row.update(answers=["", " "]), "line 2, answers: expected some text"),
    ("question_answer", 0, lambda row: row.update(answer=3), "line 1, answer: expected text, got 3"),
    ("question_answer", 3, lambda row: row.update(video_path="a.mp4"), "line 4, video_path: 'a.mp4' would not be read"),
    ("pairs", 4, lambda row: row.update(image={"bytes": "?"}), "line 5, image: expected base64"),
    ("pairs", 1, lambda row: row.update(text="two"), "line 2: expected the text under text or caption, got 2"),
    ("triples", 2, lambda row: row.update(image=None), "item 2, image: expected a path"),
    ("pope", 3, lambda row: row.update(label="maybe"), "line 4, label: expected 'yes' or 'no'"),
    ("modaverse", 0, lambda row: row.update(meta_response=None), "item 0, meta_response: expected"),
    ("nextgpt_pairs", 1, lambda row: row.update(caption=" "), "item 1, caption: expected some text"),
    ("nextgpt", 0, lambda row: row.update(input_image=None), "item 0, turn 0: <image> without a file left"),
    ("nextgpt_turns", 3, lambda row: row.update(audio_name=None), "item 3, turn 0, input_modality: no file left"),
    ("mosit", 3, lambda row: row.update(video_list=[{"caption": ""}]), "item 3, video_list[0], caption: expected some"),
]


@pytest.mark.parametrize(("name", "number", "spoil", "message"), DEFECTS)
def test_a_defect_is_named_by_its_row_and_field(
    tmp_path: Path, name: str, number: int, spoil: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read_rows(spoilt(tmp_path, name, number, spoil), IMAGES, format_name=name)


@pytest.mark.parametrize(
    ("first", "name"),
    [
        ({"messages": [], "prompt": "a", "completion": "b"}, "messages"),
        ({"conversations": [], "query": "a", "response": "b"}, "sharegpt"),
        ({"conversations": [], "image": "1.png", "question": "a", "answer": "b"}, "llava"),
        ({"prompt": "a", "completion": "b", "query": "c", "response": "d"}, "trl"),
        ({"instruction": "a", "output": "b", "question": "c", "answer": "d"}, "alpaca"),
        ({"question": "a", "answer": "b", "image": "1.png", "caption": "c"}, "question_answer"),
        ({"image": "1.png", "text": "a", "label": "yes"}, "pope"),
    ],
)
def test_of_several_formats_that_fit_the_first_in_order_is_taken(first: dict[str, Any], name: str) -> None:
    assert format_of(first, Path("a.json")) is FORMATS[name]


def test_the_fields_of_the_first_five_rows_decide_together() -> None:
    rows = iter([{"id": 1, "image": None}, {"image": "1.png", "text": "a"}, *[{"id": 2}] * 3, {"messages": []}])
    assert read.first_fields(rows) == {"id": 1, "image": "1.png", "text": "a"}


def test_a_named_format_must_exist_and_fit_the_file() -> None:
    with pytest.raises(DataError, match=r"data\.format: expected one of .*, openai, messages, .*, got 'lava'"):
        read_rows(example("llava"), IMAGES, format_name="lava")
    with pytest.raises(DataError, match="the format coco_captions is for object, not for records"):
        read_rows(example("llava"), IMAGES, format_name="coco_captions")


def test_a_field_that_is_not_read_is_said_once_with_its_rows(tmp_path: Path) -> None:
    rows = [{"image": "1.png", "text": "a", "source": "web", "score": 0.5}] * 3
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"id": n, **row}) + "\n" for n, row in enumerate(rows)))
    offenders = Offenders()
    read_rows(tmp_path / "a.jsonl", IMAGES, offenders=offenders)
    where = f"(first: {tmp_path / 'a.jsonl'}, line 1)"
    assert offenders.lines() == [
        f"3 row(s) have a field {name!r} that is not read {where}" for name in ("source", "score")
    ]


def test_columns_take_the_names_of_the_format(tmp_path: Path) -> None:
    row = {"query": "What is this?", "label": ["disc"], "img": "1.png", "answer": "unused"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    columns = {"question": "query", "answer": "label", "image": "img"}
    [sample] = read_rows(tmp_path / "a.jsonl", IMAGES, columns=columns)
    assert written(sample) == [f"user: {DISC}|What is this?", "assistant: disc"]
    with pytest.raises(
        DataError, match=r"no column 'labels' in its first rows \(--data.columns\); it has query, label"
    ):
        read_rows(tmp_path / "a.jsonl", IMAGES, columns={"answer": "labels"})
    with pytest.raises(DataError, match=r"data\.columns is for files of rows"):
        read_rows(example("coco_captions"), IMAGES, columns={"answer": "labels"})


def test_the_documentation_shows_every_example_as_it_is() -> None:
    pages = (Path(__file__).parents[4] / "docs" / "howto" / "data").glob("*.md")
    told = "".join(page.read_text(encoding="utf-8") for page in pages)
    for path in EXAMPLES.iterdir():
        assert f"`{path.name}`:\n\n```json\n{path.read_text(encoding='utf-8')}```\n" in told, path.name


def test_the_documentation_states_the_order_of_the_formats() -> None:
    told = (Path(__file__).parents[4] / "docs" / "howto" / "data.md").read_text(encoding="utf-8")
    rows = [name for name, held in FORMATS.items() if "records" in held.shapes]
    assert re.findall(r"`(\w+)`", told[told.index("your own formats, `") : told.index("A row with `conv")]) == rows
