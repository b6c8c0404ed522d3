"""POPE's questions, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.data import DataError, questions_of, read_pope, read_samples

LINE = {"question_id": 1, "image": "1.png", "text": "Is there a disc in the image?", "label": "yes"}


def test_a_question_is_told_by_its_label(write_lines: Callable[..., Path], images: Path) -> None:
    [sample] = read_samples(write_lines(LINE), images)
    [question] = questions_of(sample)
    assert (sample.id, question.prompt[-1].text, question.reference, question.kind) == (
        "1",
        "Is there a disc in the image?",
        "yes",
        "yes/no",
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"label": "maybe"}, r"line 1, label: expected 'yes' or 'no', got 'maybe'"),
        ({"question_id": "1"}, r"line 1, question_id: expected a whole number from 0, got '1'"),
        ({"text": " "}, r"line 1, text: expected some text"),
        ({"image": "../1.png"}, r"line 1, image: "),
    ],
)
def test_what_is_wrong_with_a_question_is_said(
    write_lines: Callable[..., Path], images: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        read_pope(write_lines(LINE | change), images)


def test_a_question_id_twice_is_an_error(write_lines: Callable[..., Path], images: Path) -> None:
    with pytest.raises(DataError, match=r"line 2, question_id: '1' is also the id of .*line 1"):
        read_pope(write_lines(LINE, LINE), images)
