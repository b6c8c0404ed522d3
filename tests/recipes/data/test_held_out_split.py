"""``--data.test_size``: which rows are held out, and how they are found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart, media_of
from inlay.recipes.data.held_out_split import hold_out, row_digest, rows_again, split_places
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import DataSettings


def row(number: int, *pictures: str, asked: str = "what?", said: str = "", file: str = "train.json") -> Sample:
    shown = [MediaPart("image", Path("images") / name) for name in pictures]
    user = Message("user", (*shown, TextPart(asked)))
    answer = Message("assistant", (TextPart(said or f"answer {number}"),))
    return Sample(str(number), (user, answer), f"{file}, item {number}")


def rows(count: int, per_picture: int = 1) -> list[Sample]:
    return [row(number, f"{number // per_picture}.png", asked=f"question {number}") for number in range(count)]


def pictures(samples: Any) -> set[str]:
    return {str(part.source) for sample in samples for part in media_of(sample.messages)}


def moved_to(message: Message) -> Message:
    """The same pictures in another folder."""
    parts = [
        MediaPart("image", Path("/elsewhere") / part.source.name) if isinstance(part, MediaPart) else part
        for part in message.content
    ]
    return Message(message.role, tuple(parts))


@pytest.mark.parametrize(("size", "count"), [(0.05, 10), (0.5, 100), (7, 7), (1, 1)])
def test_a_fraction_or_a_number_of_rows_is_held_out(size: float, count: int) -> None:
    assert len(split_places(rows(200), size, 0)) == count


@pytest.mark.parametrize("per_picture", [2, 5])
def test_no_picture_is_in_both_halves(per_picture: int) -> None:
    samples = {"train": rows(100, per_picture)}
    divided, _ = hold_out(samples, 0.2, 0, lambda _: None)
    assert len(divided["test"]) == 20
    assert len(divided["train"]) == 80
    assert not pictures(divided["test"]) & pictures(divided["train"])


def test_rows_that_are_connected_by_two_pictures_stay_together() -> None:
    chain = [row(number, f"{number}.png", f"{number + 1}.png") for number in range(5)]
    others = [row(10 + number, f"other {number}.png") for number in range(20)]
    for seed in range(10):
        held = split_places([*chain, *others], 0.3, seed)
        assert len({place for place in held if place < 5}) in (0, 5)


def test_the_choice_depends_on_the_seed_and_neither_on_order_nor_on_folders() -> None:
    held = rows(60)
    chosen = {held[place].id for place in split_places(held, 0.1, 3)}
    turned = list(reversed(held))
    assert {turned[place].id for place in split_places(turned, 0.1, 3)} == chosen
    assert {held[place].id for place in split_places(held, 0.1, 4)} != chosen
    moved = [replace(one, messages=(moved_to(one.messages[0]), one.messages[1])) for one in held]
    assert {moved[place].id for place in split_places(moved, 0.1, 3)} == chosen
    assert row_digest(moved[0]) == row_digest(held[0])


def test_equal_texts_without_a_medium_stay_together() -> None:
    held = [row(number, asked=f"question {number // 4}", said="yes") for number in range(40)]
    chosen = split_places(held, 8, 0)
    assert len(chosen) == 8
    assert len({held[place].messages[0].text for place in chosen}) == 2


def test_other_training_files_lose_the_rows_that_show_a_held_out_picture() -> None:
    lines: list[str] = []
    captions = [row(number, f"{number}.png", file="align.json") for number in range(50)]
    divided, _ = hold_out({"align": captions, "train": rows(50)}, 5, 0, lines.append)
    assert len(divided["align"]) == 45
    assert not pictures(divided["align"]) & pictures(divided["test"])
    assert lines == [
        "train.json: 5 of 50 rows are held out (test_size 5, seed 0); 5 rows of other files that show one of their "
        "media are left out"
    ]


def test_one_list_that_serves_twice_is_divided_once() -> None:
    held = rows(20)
    divided, _ = hold_out({"align": held, "train": held}, 4, 0, lambda _: None)
    assert divided["align"] is divided["train"]


def test_several_captions_of_a_picture_are_one_question_with_all_answers() -> None:
    held = [row(number, f"{number // 5}.png", said=f"caption {number}") for number in range(50)]
    divided, digests = hold_out({"train": held}, 10, 0, lambda _: None)
    assert [len(sample.answers[0]) for sample in divided["test"]] == [5, 5]
    assert len(digests) == 10


def test_the_rows_are_found_again_in_a_file_that_has_grown() -> None:
    divided, digests = hold_out({"train": rows(40)}, 4, 0, lambda _: None)
    assert rows_again([*rows(80)], digests) == list(divided["test"])
    with pytest.raises(DataError, match=r"of 4 rows that the run held out are no longer"):
        rows_again(rows(3), digests)


@pytest.mark.parametrize(
    ("held", "size", "said"),
    [
        ([row(number, "one.png", asked=str(number)) for number in range(9)], 0.2, "all rows show the same media"),
        (rows(4), 4, "there are only 4 rows"),
    ],
)
def test_rows_that_cannot_be_divided_are_an_error(held: list[Sample], size: float, said: str) -> None:
    with pytest.raises(DataError, match=said):
        split_places(held, size, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"test_size": 0.1, "test": Path("test.json")}, "there is a test file"),
        ({"test_size": 1.5}, "a fraction below 1 or a number of rows, got 1.5"),
        ({"test_size": -1.0}, "a fraction below 1 or a number of rows, got -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        DataSettings(train=Path("train.json"), **options)
    with pytest.raises(SettingsError, match="test_size: these files need"):
        DataSettings(test_size=0.1).check_drawn()
