"""From scored answers to rows in TRL's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.formats.read import read_rows
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Question, Sample, questions_of
from inlay.recipes.preference_pairs.ranking import pair_row, ranked


def test_the_first_best_and_the_first_worst_answer_are_the_pair() -> None:
    found = ranked(["a", "b", "c", "d", "e"], [0.5, 1.0, 0.0, 1.0, 0.0])
    assert (found.outcome, found.best, found.worst) == ("pair", 1, 2)


@pytest.mark.parametrize(
    ("texts", "scores", "outcome"),
    [
        (["a", "b"], [1.0, 1.0], "tie"),
        (["a", "a"], [1.0, 1.0], "equal"),
        (["a", " ", ""], [1.0, 0.0, 0.0], "equal"),
        (["", ""], [0.0, 0.0], "equal"),
        (["a", "a", "b"], [1.0, 0.0, 0.5], "equal"),  # a score that is not a function of the text
    ],
)
def test_ties_and_equal_texts_are_no_pair(texts: list[str], scores: list[float], outcome: str) -> None:
    assert ranked(texts, scores).outcome == outcome


def test_a_row_has_trls_fields_and_relative_paths(tmp_path: Path) -> None:
    turns = (
        Message("user", (MediaPart("image", str(tmp_path / "a" / "1.png")), TextPart("what?"))),
        Message("assistant", (TextPart("a dog"),)),
        Message("user", (MediaPart("audio", tmp_path / "2.wav"), TextPart("and this?"))),
    )
    row = pair_row(
        Question(turns, "rain", ("rain",), ""), Sample("7", (), "x"), "rain", "wind", tmp_path, score_chosen=1.0
    )
    assert row == {
        "id": "7",
        "images": ["a/1.png"],
        "audios": ["2.wav"],
        "prompt": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "a dog"}]},
            {"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": "and this?"}]},
        ],
        "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "rain"}]}],
        "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "wind"}]}],
        "score_chosen": 1.0,
    }


def test_rows_are_read_as_preference_data_without_a_remark(tmp_path: Path) -> None:
    turns = (Message("user", (MediaPart("image", tmp_path / "1.png"), TextPart("what?"))),)
    facts: dict[str, Any] = {"score_chosen": 1.0, "score_rejected": 0.0, "reward": "exact", "samples": 8}
    row = pair_row(Question(turns, "a", ("a",), ""), Sample("7", (), "x"), "a", "b", tmp_path, **facts)
    path = tmp_path / "pairs.jsonl"
    path.write_text((json.dumps(row) + "\n") * 2)  # two questions of a dialogue have its id
    offenders = Offenders()
    first, second = read_rows(path, tmp_path, offenders=offenders)
    assert (first.id, second.id) == ("7", "7#2")
    assert first.messages == (*turns, Message("assistant", (TextPart("a"),)))
    assert first.rejected == (*turns, Message("assistant", (TextPart("b"),)))
    assert not offenders.lines()


def test_pairs_of_one_dialogue_have_different_ids(tmp_path: Path) -> None:
    said = [Message(role, (TextPart(role),)) for role in ("user", "assistant", "user", "assistant")]
    sample = Sample("7", tuple(said), "x")
    rows = [pair_row(question, sample, "a", "b", tmp_path) for question in questions_of(sample)]
    assert [row["id"] for row in rows] == ["7/1", "7/2"]


@pytest.mark.parametrize("source", ["/elsewhere/1.png", object()])
def test_a_medium_outside_of_the_folder_is_refused(tmp_path: Path, source: object) -> None:
    question = Question((Message("user", (MediaPart("image", source),)),), "a", ("a",), "")
    with pytest.raises(DataError, match=r"train\.json, item 3: expected a media file below"):
        pair_row(question, Sample("7", (), "train.json, item 3"), "a", "b", tmp_path)
