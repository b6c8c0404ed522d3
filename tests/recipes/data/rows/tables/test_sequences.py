"""Sequences that convert, split, choose and join samples on access equal the lists of the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.recipes.data.preparation.stage_samples import apart
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.rows.tables.sequences import Chosen, Converted, Joined, chosen, split


def sample(name: str, turns: int = 1) -> Sample:
    messages = [Message(("user", "assistant")[place % 2], (TextPart(f"{name}{place}"),)) for place in range(2 * turns)]
    return Sample(name, tuple(messages), f"{name}.json")


ROWS = [sample("a", 2), sample("b"), sample("c", 3)]


def renamed(row: Sample) -> Sample:
    return replace(row, id=row.id + "!")


PARTS = [part for row in ROWS for part in apart(row)]
CASES: dict[str, tuple[Sequence[Sample], list[Sample]]] = {
    "converted": (Converted(ROWS, renamed), [renamed(row) for row in ROWS]),
    "split": (split(ROWS, apart), PARTS),
    "chosen": (Chosen(ROWS, [2, 0]), [ROWS[2], ROWS[0]]),
    "joined": (Joined([ROWS, [], ROWS[:1]]), [*ROWS, ROWS[0]]),
    "nested": (Converted(Joined([split(ROWS, apart), ROWS]), renamed), [renamed(row) for row in [*PARTS, *ROWS]]),
}


@pytest.mark.parametrize(("lazy", "held"), CASES.values(), ids=CASES)
def test_it_equals_the_list(lazy: Sequence[Sample], held: list[Sample]) -> None:
    assert len(lazy) == len(held)
    assert list(lazy) == [lazy[place] for place in range(len(lazy))] == held
    assert lazy == held
    assert lazy[-1] == held[-1]
    assert list(lazy[1:]) == held[1:]
    with pytest.raises(IndexError):
        lazy[len(held)]


def test_a_condition_that_all_samples_fulfil_leaves_the_sequence() -> None:
    assert chosen(ROWS, lambda _: True) is ROWS
    assert list(chosen(ROWS, lambda row: len(row.messages) == 2)) == [ROWS[1]]
    assert list(chosen(ROWS, lambda _: False)) == []


def test_nothing_is_converted_before_it_is_used() -> None:
    used: list[str] = []
    lazy = Converted(Joined([ROWS, ROWS]), lambda row: used.append(row.id) or row)
    assert len(lazy[1:3]) == 2
    assert used == []
    assert lazy[4].id == "b"
    assert used == ["b"]
