"""Fields that a format does not read: an error for media and refused fields, a note for others."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.rows.unread_fields import REFUSED, refuse_in_turn, refuse_unread

READ = ("id", "image", "text")


@pytest.mark.parametrize("name", ["audio", "videos", "wav_path", "sound_file", "clip", "speech"])
@pytest.mark.parametrize("value", ["a.wav", ["a.wav"], {"bytes": b"a"}, b"a"])
def test_a_medium_in_another_field_is_an_error_that_names_it(name: str, value: Any) -> None:
    with pytest.raises(DataError, match=f"^row 1, {name}: .* would not be read; this format reads image"):
        refuse_unread({"image": "1.png", "text": "a", name: value}, READ, "row 1")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_field_is_an_error_in_rows_and_turns(name: str) -> None:
    for refuse in (refuse_unread, refuse_in_turn):
        with pytest.raises(DataError, match=f"^row 1, {name}: .* not trained"):
            refuse({"text": "a", name: [{"name": "f"}]}, READ, "row 1")


@pytest.mark.parametrize("value", [None, "", [], {}, "[]"])
def test_an_empty_refused_field_is_read(value: Any) -> None:
    offenders = Offenders()
    refuse_unread({"text": "a", "tools": value}, READ, "row 1", offenders=offenders)
    assert offenders.lines() == []


def test_any_other_field_is_noted_once() -> None:
    offenders = Offenders()
    for number in range(3):
        refuse_unread({"id": "1", "text": "a", "answers": ["b"], "x": 0}, READ, f"row {number}", offenders=offenders)
    assert offenders.lines() == [
        f"3 row(s) have a field {name!r} that is not read (first: row 0)" for name in ("answers", "x")
    ]


@pytest.mark.parametrize(("name", "value"), [("loss", False), ("weight", 0), ("train", "no"), ("weight", 0.5)])
def test_a_turn_that_is_not_to_be_trained_is_an_error(name: str, value: Any) -> None:
    with pytest.raises(DataError, match=f"row 1, turn 2, {name}: every answer is trained"):
        refuse_in_turn({"role": "assistant", "content": "a", name: value}, ("role", "content"), "row 1, turn 2")


@pytest.mark.parametrize("extra", [{"loss": True}, {"weight": 1}, {"name": "Ann"}, {"image": None}])
def test_a_turn_may_have_other_fields(extra: dict[str, Any]) -> None:
    refuse_in_turn({"role": "assistant", "content": "a", **extra}, ("role", "content"), "row 1, turn 2")


def test_a_misspelt_field_is_answered_with_the_near_name() -> None:
    offenders = Offenders()
    refuse_unread({"imagee": "1.png", "text": "a", "source": "x"}, READ, "row 0", offenders=offenders)
    assert offenders.lines() == [
        "1 row(s) have a field 'imagee' that is not read; did you mean 'image'? (first: row 0)",
        "1 row(s) have a field 'source' that is not read (first: row 0)",
    ]
