"""Where output goes: a terminal that a person reads, or a file, a pipe or a log.

rich (https://rich.readthedocs.io) is imported when something is drawn, so that ``inlay --help`` does not wait for it.
"""

from __future__ import annotations

import json
import os
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["draw", "is_terminal", "plain_text", "show_json", "terminal"]

WIDEST = 100_000
"""Columns of plain text, which is never wrapped: a line stays one line for a program that reads it."""


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal that a person reads: not in continuous integration, and not ``TERM=dumb``."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def terminal(stream: TextIO) -> Console:
    """A console of rich that takes texts literally: no markup, no emoji codes, no highlighting of numbers."""
    from rich.console import Console

    return Console(file=stream, markup=False, emoji=False, highlight=False)


def plain_text(drawing: RenderableType) -> str:
    """A drawing as text without colours, line breaks or spaces at the ends of lines."""
    from rich.console import Console

    file = StringIO()
    Console(
        file=file, width=WIDEST, markup=False, emoji=False, highlight=False, color_system=None, force_terminal=False
    ).print(drawing)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def draw(drawing: RenderableType, plain: str, stream: TextIO | None = None) -> None:
    """Print a drawing on a terminal, and its plain form elsewhere.

    Args:
        drawing: for a terminal.
        plain: for files, pipes and logs.
        stream: standard output if not given.
    """
    stream = sys.stdout if stream is None else stream
    if is_terminal(stream):
        terminal(stream).print(drawing)
    else:
        stream.write(f"{plain}\n")


def show_json(value: Any) -> None:
    """Print JSON on standard output, the same on a terminal and in a pipe."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
