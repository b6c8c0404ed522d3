"""A lazy sequence of samples behaves as the list of them does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart
from inlay.recipes.data.formats.jsonl import read_messages_jsonl
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.rows.tables.facts import FileNames, Recorder
from inlay.recipes.data.rows.tables.samples import Samples

COUNT = 150


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    path = tmp_path / "a.jsonl"
    turns = [{"role": "user", "content": "what?"}, {"role": "assistant", "content": "a disc"}]
    path.write_text("".join(json.dumps({"id": f"n{n}", "messages": turns}) + "\n" for n in range(COUNT)))
    found = read_messages_jsonl(path, None)
    assert isinstance(found, Samples)
    return found


def test_places_and_slices_are_those_of_a_list(samples: Samples) -> None:
    held = list(samples)
    assert [sample.id for sample in held] == [f"n{number}" for number in range(COUNT)]
    assert samples[7] == held[7]
    assert samples[-1] == held[-1]
    for chosen in (slice(3, 9), slice(None, None, -7), slice(140, 900), slice(5, 2)):
        assert isinstance(samples[chosen], Samples)
        assert samples[chosen] == held[chosen]
    assert samples[10:20][3:5] == held[13:15]
    for place in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError):
            samples[place]


def test_it_equals_lists_of_the_same_samples_only(samples: Samples) -> None:
    held = list(samples)
    assert samples == held
    assert samples != held[:-1]
    assert samples != [*held[1:], held[0]]
    assert samples != "text"


def test_chosen_samples_keep_their_facts(samples: Samples) -> None:
    taken = samples.take([5, 3])
    assert [sample.id for sample in taken] == ["n5", "n3"]
    assert taken.take(np.array([1])).column("row").tolist() == [3]
    assert taken.column("characters").tolist() == [11, 11]


def recorded(*messages: Message) -> dict[str, int]:
    recorder = Recorder()
    recorder.add(4, Sample("7", messages, "a.json, item 4"))
    return {name: column[0] for name, column in recorder.facts().columns.items() if column[0]}


def said(role: Any, *content: Any) -> Message:
    return Message(role, tuple(TextPart(part) if isinstance(part, str) else part for part in content))


def test_facts_count_texts_turns_and_media() -> None:
    picture = MediaPart("image", Path("a.png"))
    found = recorded(said("user", picture, picture, "caf\u00e9?"), said("assistant", "yes"))
    assert found == {"row": 4, "characters": 8, "bytes": 9, "messages": 2, "parts": 1, "input_image": 2}


@pytest.mark.parametrize(
    ("messages", "parts"),
    [
        ((said("system", "be brief"), said("user", "a"), said("assistant", "b")), 1),
        ((said("user", "a"), said("assistant", " "), said("user", "c"), said("assistant", "d")), 1),
        ((said("user", "a"), said("assistant", MadePart("audio", "rain"))), 1),
        ((said("user", "a"), said("assistant", "b"), said("user", "c"), said("assistant", MadePart("audio"))), 2),
    ],
)
def test_rows_with_a_system_message_an_empty_answer_or_a_generated_medium_are_marked(
    messages: tuple[Message, ...], parts: int
) -> None:
    found = recorded(*messages)
    assert (found["unusual"], found["parts"]) == (1, parts)


def test_file_names_keep_their_order_and_any_character(tmp_path: Path) -> None:
    names = FileNames()
    for name in ("b.png", "a\nb.png", "b.png", "\udcff.png"):
        names.add(name)
    names.copy_to(tmp_path / "media.txt")
    expected = [Path("b.png"), Path("a\nb.png"), Path("\udcff.png")]
    assert list(names) == list(FileNames(tmp_path / "media.txt")) == expected
