"""Preference formats on the examples of ``docs/howto/data/``: recognised, read as expected, defects named.

The expected samples are written by hand, see :mod:`format_examples`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from format_examples import IMAGES, example, spoilt, written

from inlay.recipes.data import DataError
from inlay.recipes.data.formats import read
from inlay.recipes.data.formats.read import format_of, read_rows
from inlay.recipes.data.formats.registry import FORMATS
from inlay.recipes.data.rows.offenders import Offenders

WHAT = "user: [image 1.png]|What is this?"
WHAT_2 = "user: [image 2.png]|What is this?"
COLOUR, COLOUR_2 = "user: [image 1.png]|Its colour?", "user: [image 2.png]|Its colour?"
DISC, RING = "assistant: A disc.", "assistant: A ring."
NOT_RING, NOT_DISC = f"rejected {RING}", f"rejected {DISC}"
SUM = "user: Two and two?"

EXPECTED: dict[str, dict[str, list[str]]] = {
    "trl_preference": {
        "line-1": [WHAT, DISC, NOT_RING],
        "line-2": ["user: The sky is", "assistant: blue.", "rejected assistant: green."],
        "line-3": [WHAT_2, RING, NOT_DISC],
        "line-4": ["system: Be brief.", WHAT, DISC, "rejected assistant: This is a disc, I think."],
        "7": [SUM, "assistant: Four.", "user: Sure?", "assistant: Yes.", "rejected assistant: No."],
    },
    "implicit_prompt": {
        "line-1": [WHAT, DISC, NOT_RING],
        "line-2": [WHAT_2, RING, NOT_DISC],
        "line-3": ["user: The sky is", "assistant: blue.", "rejected assistant: green."],
        "line-4": [WHAT, "assistant: Disc.", "rejected assistant: Ring."],
        "line-5": [
            *("user: Hello", "assistant: Hello.", SUM, "assistant: Four."),
            "rejected assistant: Five.",
        ],
    },
    "trl_labels": {
        "line-1": [WHAT, DISC, "desirable"],
        "line-2": [WHAT, RING, "undesirable"],
        "line-3": ["user: The sky is", "assistant: blue.", "desirable"],
        "line-4": [WHAT_2, DISC, "undesirable"],
        "line-5": [SUM, "assistant: Four.", "desirable"],
    },
    "swift_preference": {
        "line-1": [WHAT, DISC, NOT_RING],
        "line-2/1": [WHAT_2, RING, NOT_DISC],
        "line-2/2": [WHAT_2, RING, "rejected assistant: A dog."],
        "line-3": [WHAT, DISC, f"rejected {WHAT_2}", NOT_DISC],
        "line-4": ["user: [audio 1.wav]|What is heard?", "assistant: Rain.", "rejected assistant: A bell."],
        "line-5": [SUM, "assistant: Five.", "undesirable"],
    },
    "sharegpt_preference": {
        "item-0": [WHAT, DISC, NOT_RING],
        "item-1": ["system: Be brief.", "user: Hello", "assistant: Hello.", "rejected assistant: What?"],
        "item-2": [SUM, "assistant: Four.", "user: Sure?", "assistant: Yes.", "rejected assistant: No."],
        "item-3": [WHAT, DISC, "desirable"],
        "item-4": [WHAT, RING, "undesirable"],
    },
    "alpaca_preference": {
        "item-0": ["user: Name a colour.", "assistant: Red.", "rejected assistant: Dog."],
        "item-1": ["system: Be brief.", "user: Translate.\nrouge", "assistant: red", "rejected assistant: blue"],
        "item-2": [WHAT, DISC, NOT_RING],
        "item-3": [WHAT, DISC, "desirable"],
        "item-4": ["user: Name a colour.", "assistant: Dog.", "undesirable"],
    },
    "rlhf_v": {
        "line-1": ["user: [image 8 bytes]|What is this?", DISC, NOT_RING],
        "line-2": [WHAT, DISC, NOT_RING],
        "line-3": [COLOUR, "assistant: Red.", "rejected assistant: Blue."],
        "line-4": [WHAT_2, RING, NOT_DISC],
        "line-5": [COLOUR_2, "assistant: Blue.", "rejected assistant: Red and round."],
    },
    "rlaif_v": {
        "line-1": ["user: [image 8 bytes]|What is this?", DISC, NOT_RING],
        "line-2": [WHAT, DISC, NOT_RING],
        "line-3": [COLOUR, "assistant: Red.", "rejected assistant: Blue."],
        "line-4": [WHAT_2, RING, NOT_DISC],
        "line-5": ["user: [audio 1.wav]|What is heard?", "assistant: Rain.", "rejected assistant: A bell."],
    },
    "vlfeedback": {
        "a/1": [WHAT, DISC, NOT_RING],
        "b/1": [COLOUR, "assistant: Red.", "rejected assistant: Blue."],
        "b/2": [COLOUR, "assistant: Red.", "rejected assistant: Green."],
        "d/1": [WHAT_2, RING, "rejected assistant: A dog."],
        "e/1": [COLOUR_2, "assistant: Blue.", "rejected assistant: Red."],
    },
    "mdpo": {
        "item-0": [WHAT, DISC, NOT_RING],
        "item-1": [WHAT, DISC, "rejected assistant: A dog."],
        "item-2": [COLOUR, "assistant: Red.", "rejected assistant: Blue."],
        "item-3": [WHAT_2, RING, NOT_DISC],
        "item-4": [COLOUR_2, "assistant: Blue.", "rejected assistant: Red."],
    },
    "povid": {
        "1": [WHAT, DISC, "rejected assistant: A disc and a dog."],
        "2": [COLOUR, "assistant: Red.", "rejected assistant: Blue."],
        "3": [WHAT_2, RING, NOT_DISC],
        "4": [COLOUR_2, "assistant: Blue.", "rejected assistant: Red."],
        "5": [SUM, "assistant: Four.", "rejected assistant: Five."],
    },
    "align_anything": {
        "line-1": [WHAT, DISC, NOT_RING],
        "line-2": [WHAT_2, RING, NOT_DISC],
        "line-3": [COLOUR, "assistant: Red.", "rejected assistant: Blue."],
        "line-5": [SUM, "assistant: Four.", "rejected assistant: Five."],
    },
    "symmpo": {
        "item-0": [WHAT, DISC, "rejected assistant: A dog.", f"similar {WHAT_2}", f"similar {RING}"],
        "item-1": [
            *(COLOUR, "assistant: Red.", "rejected assistant: Green."),
            *(f"similar {COLOUR_2}", "similar assistant: Blue."),
        ],
        "item-2": [WHAT_2, RING, "rejected assistant: A cat.", f"similar {WHAT}", f"similar {DISC}"],
        "item-3": [
            *(COLOUR_2, "assistant: Blue.", "rejected assistant: Green."),
            *(f"similar {COLOUR}", "similar assistant: Red."),
        ],
        "7": [
            *("user: [image 1.png]|How many?", "assistant: One.", "rejected assistant: Three."),
            *("similar user: [image 2.png]|How many?", "similar assistant: Two."),
        ],
    },
}
"""Format -> id of a sample -> its turns, and the last turns of the conversations with which it is compared."""


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_is_read_as_expected(name: str) -> None:
    samples = read_rows(example(name), IMAGES)
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


@pytest.mark.parametrize("name", EXPECTED)
def test_any_place_of_an_example_can_be_read_alone(name: str) -> None:
    samples = read_rows(example(name), IMAGES)
    assert [samples[place] for place in reversed(range(len(samples)))] == list(samples)[::-1]


@pytest.mark.parametrize("name", EXPECTED)
def test_parquet_gives_the_same_samples(tmp_path: Path, name: str) -> None:
    text = example(name).read_text(encoding="utf-8")
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    groups: dict[str, list[Any]] = {}
    for row in rows:  # A column of Parquet has one type.
        shape = sorted(
            (field, type(value).__name__, '"content": [' in json.dumps(value)) for field, value in row.items()
        )
        groups.setdefault(repr(shape), []).append(row)
    found = []
    for number, group in enumerate(groups.values()):
        path = tmp_path / f"{number}.parquet"
        datasets.Dataset.from_list(group).to_parquet(str(path))
        found += [written(sample) for sample in read_rows(path, IMAGES, format_name=name)]
    assert sorted(found) == sorted(EXPECTED[name].values())


DEFECTS: list[tuple[str, int, Callable[[dict[str, Any]], object], str]] = [
    ("trl_preference", 1, lambda row: row.update(rejected=" "), "line 2, rejected: the answer is empty"),
    ("trl_preference", 1, lambda row: row.update(rejected="blue. "), "line 2, rejected: the same as chosen: 'blue.'"),
    ("trl_preference", 2, lambda row: row.update(chosen=None), "line 3, chosen: expected text or a list of messages"),
    ("trl_preference", 0, lambda row: row.update(images=[]), "line 1, message 0, content[0]: a part of type image"),
    (
        "trl_preference",
        0,
        lambda row: row["rejected"][0].update(content=[{"type": "text", "text": ""}]),
        "line 1, rejected: all answers of the assistant are empty",
    ),
    (
        "trl_preference",
        3,
        lambda row: row["rejected"][0].update(role="user"),
        "line 4, rejected, turn 1: expected the assistant, got the user",
    ),
    (
        "trl_preference",
        3,
        lambda row: row["rejected"][0].update(tool_calls=[{}]),
        "line 4, rejected, message 2, tool_calls: calls of tools are not trained",
    ),
    (
        "implicit_prompt",
        2,
        lambda row: row.update(rejected="Blue."),
        "line 3, rejected: expected a beginning in common",
    ),
    ("implicit_prompt", 0, lambda row: row.update(rejected="A ring."), "line 1, rejected: expected a list of messages"),
    ("trl_labels", 1, lambda row: row.update(label="no"), "line 2, label: expected true (a good answer) or false"),
    ("trl_labels", 2, lambda row: row.update(completion=""), "line 3: all answers of the assistant are empty"),
    ("swift_preference", 0, lambda row: row.update(rejected_response=""), "line 1, rejected_response: the answer is"),
    ("swift_preference", 0, lambda row: row.update(rejected_response=7), "line 1, rejected_response: expected text"),
    ("swift_preference", 0, lambda row: row.update(rejected_response=None), "line 1, rejected_response: expected text"),
    (
        "swift_preference",
        1,
        lambda row: row.update(rejected_response=["A dog.", "A ring."]),
        "line 2, rejected_response[1]: the same as messages: 'A ring.'",
    ),
    (
        "swift_preference",
        1,
        lambda row: row.update(rejected_messages=row["messages"]),
        "line 2: expected rejected_response or rejected_messages, got both",
    ),
    ("swift_preference", 2, lambda row: row.update(rejected_images=["1.png"]), "line 3, rejected_images: the same as"),
    (
        "swift_preference",
        2,
        lambda row: row.update(rejected_images=["../a"]),
        "line 3, rejected_images[0]: '../a' leav",
    ),
    (
        "swift_preference",
        2,
        lambda row: row.update(rejected_images=["a", "b"]),
        "rejected_images, image: 2 image(s) for 1",
    ),
    (
        "swift_preference",
        3,
        lambda row: row.update(rejected_messages="A bell."),
        "line 4, rejected_messages: expected a",
    ),
    ("sharegpt_preference", 0, lambda row: row.update(rejected=None), "item 0, rejected: expected text, got None"),
    (
        "sharegpt_preference",
        0,
        lambda row: row["chosen"].update(value=" "),
        "item 0, chosen, value: the answer is empty",
    ),
    (
        "sharegpt_preference",
        0,
        lambda row: row["rejected"].update({"from": "human"}),
        "item 0, rejected, from: expected",
    ),
    ("sharegpt_preference", 0, lambda row: row.update(rejected=row["chosen"]), "item 0, rejected: the same as chosen"),
    ("sharegpt_preference", 3, lambda row: row.update(kto_tag="yes"), "item 3, kto_tag: expected true (a good answer)"),
    ("alpaca_preference", 0, lambda row: row.update(rejected=""), "item 0, rejected: expected some text"),
    ("alpaca_preference", 4, lambda row: row.update(kto_tag=0), "item 4, kto_tag: expected true (a good answer)"),
    ("rlhf_v", 1, lambda row: row.update(text="What?"), "line 2, text: not JSON"),
    ("rlhf_v", 1, lambda row: row.update(text='{"question": "a"}'), "line 2, text, chosen: expected text, got None"),
    ("rlhf_v", 1, lambda row: row.update(image=None), "line 2, image: expected a path"),
    ("rlaif_v", 1, lambda row: row.update(image=None), "line 2, image: expected a path"),
    ("rlaif_v", 2, lambda row: row.update(rejected="Red."), "line 3, rejected: the same as chosen: 'Red.'"),
    ("vlfeedback", 0, lambda row: row.update(img_path="../1.png"), "line 1, img_path: '../1.png' leaves the folder"),
    (
        "vlfeedback",
        1,
        lambda row: row["completions"][1].update(response=" "),
        "line 2, completions[1], response: expected",
    ),
    (
        "vlfeedback",
        1,
        lambda row: row["completions"][1]["annotations"]["Helpfulness"].update(Rating="good"),
        "line 2, completions[1], annotations, Helpfulness, Rating: expected a number, got 'good'",
    ),
    (
        "vlfeedback",
        2,
        lambda row: row["completions"][0].update(annotations=None),
        "completions[0], annotations: expected",
    ),
    ("mdpo", 1, lambda row: row.update(img_path=None), "item 1, img_path: expected a path"),
    ("mdpo", 2, lambda row: row.update(chosen=""), "item 2, chosen: expected some text"),
    (
        "povid",
        0,
        lambda row: row["rejected_conversations"][1].update(value=7),
        "item 0, rejected_conversations, turn 1, value: expected text, got 7",
    ),
    (
        "povid",
        1,
        lambda row: row.update(rejected_conversations=None),
        "item 1, rejected_conversations: expected a list",
    ),
    ("align_anything", 1, lambda row: row.update(overall_response="3"), "line 2, overall_response: expected 1, 2 or 0"),
    ("align_anything", 1, lambda row: row.update(response_2=None), "line 2, response_2: expected text"),
    ("align_anything", 1, lambda row: row.update(response_1="A ring."), "line 2, response_1: the same as response_2"),
    ("symmpo", 1, lambda row: row.update(image_2=None), "item 1, image_2: expected a path"),
    ("symmpo", 1, lambda row: row.update(image_2="1.png"), "item 1, image_2: the same picture as image_1"),
    ("symmpo", 2, lambda row: row.update(y2=" "), "item 2, y2: expected some text"),
]


@pytest.mark.parametrize(("name", "number", "spoil", "message"), DEFECTS)
def test_a_defect_is_named_by_its_row_and_field(
    tmp_path: Path, name: str, number: int, spoil: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read_rows(spoilt(tmp_path, name, number, spoil), IMAGES, format_name=name)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("vlfeedback", "2 pair(s) have equal ratings and are left out"),
        ("vlfeedback", "1 answer(s) have no rating and are left out"),
        ("align_anything", "1 row(s) have equally good answers: they give no pair"),
    ],
)
def test_ties_are_counted(name: str, line: str) -> None:
    offenders = Offenders()
    read_rows(example(name), IMAGES, offenders=offenders)
    assert [told for told in offenders.lines() if told.startswith(line)]


def test_a_margin_is_noted_and_not_read(tmp_path: Path) -> None:
    offenders = Offenders()
    path = spoilt(tmp_path, "swift_preference", 0, lambda row: row.update(margin=0.5))
    read_rows(path, IMAGES, offenders=offenders)
    assert any("a field 'margin' that is not read" in line for line in offenders.lines())


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "chosen": "c"},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "rejected": "c"},
        {"question": "a", "answer": "b", "rejected": "c"},
        {"query": "a", "response": "b", "rejected_response": "c"},
        {"prompt": "a", "completion": "b", "rejected": "c"},
        {"image": "1.png", "text": "a", "rejected_images": ["2.png"]},
    ],
)
def test_formats_without_preferences_refuse_their_fields(tmp_path: Path, row: dict[str, Any]) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match="preferences are not trained by this format"):
        read_rows(tmp_path / "a.jsonl", IMAGES)


def test_a_prompt_that_both_answers_repeat_is_read_once(tmp_path: Path) -> None:
    asked = {"role": "user", "content": "a"}
    said = [{"role": "assistant", "content": text} for text in ("b", "c")]
    row = {"prompt": [asked], "chosen": [asked, said[0]], "rejected": [asked, said[1]]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    [sample] = read_rows(tmp_path / "a.jsonl", IMAGES)
    assert written(sample) == ["user: a", "assistant: b", "rejected assistant: c"]


def test_of_answers_of_several_turns_the_last_ones_are_compared(tmp_path: Path) -> None:
    turns = [{"role": role, "content": text} for role, text in (("assistant", "b"), ("user", "c"), ("assistant", "d"))]
    row = {"prompt": "a", "chosen": turns, "rejected": [*turns[:2], {"role": "assistant", "content": "e"}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    offenders = Offenders()
    [sample] = read_rows(tmp_path / "a.jsonl", IMAGES, offenders=offenders)
    assert written(sample)[-1] == "rejected assistant: e"
    assert any("only the last answers are compared" in line for line in offenders.lines())


def test_both_sides_share_the_media_of_the_row() -> None:
    for name in ("rlhf_v", "swift_preference"):
        sample = read_rows(example(name), IMAGES)[0]
        assert sample.messages[0] is sample.rejected[0]


def test_messages_have_the_label_of_llama_factory(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = [{"messages": turns, "kto_tag": good} for good in (True, False)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [sample.desirable for sample in read_rows(tmp_path / "a.jsonl", IMAGES)] == [True, False]
