"""Undo steps: all of them run, the last change first, whatever one of them raises."""

from __future__ import annotations

import pytest

from inlay.adapters.parts.undo import Undo


def test_the_last_change_is_undone_first_and_only_once() -> None:
    order: list[int] = []
    undo = Undo()
    for step in range(3):
        undo.callback(order.append, step)
    undo.close()
    undo.close()
    assert order == [2, 1, 0]


@pytest.mark.parametrize("problem", [ValueError("no"), KeyboardInterrupt()])
def test_a_step_that_raises_is_run_again_and_the_others_run_too(problem: BaseException) -> None:
    calls: list[str] = []

    def interrupted() -> None:
        calls.append("interrupted")
        if len(calls) == 2:
            raise problem

    undo = Undo()
    undo.callback(calls.append, "first")
    undo.callback(interrupted)
    undo.callback(calls.append, "last")
    with pytest.raises(type(problem)):
        undo.close()
    assert calls == ["last", "interrupted", "interrupted", "first"]


def test_the_first_exception_is_the_one_that_is_raised() -> None:
    def raising(error: Exception) -> None:
        raise error

    undo = Undo()
    undo.callback(raising, KeyError("second"))
    undo.callback(raising, ValueError("first"))
    with pytest.raises(ValueError, match="first"):
        undo.close()
