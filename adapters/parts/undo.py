"""Undoing: a stack of steps that all run, even if one of them raises."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

__all__ = ["Undo"]


class Undo:
    """Steps that undo changes, the last one first. A step must have no effect if its change was not made.

    Example:
        >>> undo = Undo()
        >>> undo.callback(print, "first change")
        >>> undo.callback(print, "second change")
        >>> undo.close()
        second change
        first change
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], Any]] = []

    def callback(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Register a step, before its change is made."""
        self._steps.append(partial(function, *arguments))

    def close(self) -> None:
        """Run every step. A step that raises, for instance by Ctrl-C, is run once more; the others run in any case.

        Raises:
            BaseException: the first exception of a step, after all steps.
        """
        problem: BaseException | None = None
        while self._steps:
            step = self._steps[-1]
            try:
                step()
            except BaseException as raised:
                problem = problem or raised
                with suppress(BaseException):  # the first exception is the one to raise
                    step()
            self._steps.pop()
        if problem is not None:
            raise problem
