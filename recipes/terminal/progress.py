"""Progress of a long step: one bar with the time left on a terminal, or a line now and then in a log.

Lines come at a bounded rate, by the clock and not by the step, so that a log of a long stage stays short.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from inlay.recipes.terminal.console import is_terminal, terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

__all__ = ["EVERY", "Progress", "hide_library_bars"]

EVERY = 30.0
"""Seconds between two lines of a log."""
DRAWN = 0.2
"""Seconds between two drawings of the bar."""


def hide_library_bars(stream: TextIO | None = None) -> None:
    """Switch off the progress bars of huggingface_hub, transformers and diffusers unless a person sees them.

    In a file or pipe each drawing of a bar is another line. The libraries read these variables when they are imported,
    so this is called first; a value that the user has set is kept.

    Args:
        stream: on which bars are drawn; standard error if not given.
    """
    if not is_terminal(sys.stderr if stream is None else stream):
        for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
            os.environ.setdefault(name, "1")


class Progress:
    """A context that shows how far a step is; on standard error, so that standard output stays for results.

    Args:
        name: of the step.
        total: number of units.
        start: units that were done before, such as those of a resumed stage.
        stream: standard error if not given.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        name: str,
        total: int,
        *,
        start: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.total, self.start, self.clock = name, total, start, clock
        self.stream = sys.stderr if stream is None else stream
        self._began = self._shown = clock()
        self._bar: Bar | None = None
        self._done, self._figures = start, ""
        self._said = -1

    def __enter__(self) -> Self:
        """Show the empty bar."""
        if is_terminal(self.stream):
            self._bar = _bar(self.stream)
            self._task = self._bar.add_task(self.name, total=self.total, completed=self.start, figures="")
            self._bar.start()
        return self

    def update(self, done: int, figures: Mapping[str, float] | None = None) -> None:
        """Show that ``done`` units are finished.

        Args:
            done: finished units.
            figures: name -> value, such as the loss.
        """
        self._done = done
        if figures:
            self._figures = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        if self._bar is not None:
            due = self.clock() - self._shown >= DRAWN
            self._shown = self.clock() if due else self._shown
            self._bar.update(self._task, completed=done, figures=self._figures, refresh=due)
        elif self.clock() - self._shown >= EVERY:
            self._line()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state of the bar, or print the last line."""
        if self._bar is not None:
            self._bar.refresh()
            self._bar.stop()
        elif self._done != self._said:
            self._line()

    def _line(self) -> None:
        self._shown, self._said = self.clock(), self._done
        spent, done = self._shown - self._began, self._done - self.start
        left = f"{_span(spent * (self.total - self._done) / done)} left" if done and self._done < self.total else ""
        parts = [f"{self.name} {self._done}/{self.total}", self._figures, _span(spent), left]
        self.stream.write(", ".join(part for part in parts if part) + "\n")
        self.stream.flush()


def _bar(stream: TextIO) -> Bar:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=terminal(stream),
        # No thread: a process of a data loader that is forked while a thread draws would inherit a closed lock.
        auto_refresh=False,
        # Lines printed meanwhile appear above the bar. Output to a file goes on into the file.
        redirect_stdout=is_terminal(sys.stdout),
        redirect_stderr=stream is sys.stderr,
    )


def _span(seconds: float) -> str:
    """A time as H:MM:SS."""
    return str(timedelta(seconds=round(seconds)))
