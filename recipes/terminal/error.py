"""Errors: a panel with what is wrong, why, and how to mend it on a terminal; the same words as one line elsewhere.

Every message of :class:`~inlay.hub.errors.InlayError` has the form ``WHAT: WHY; HOW TO MEND IT``. A message of another
form is shown as it is.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple, TextIO

from inlay.recipes.terminal.console import is_terminal, terminal

__all__ = ["Explained", "explain", "show_error"]

_ADVICE = (
    "add|answer|ask|call|check|choose|close|convert|copy|correct|create|delete|divide|do|download|export|"
    "free|give|import|increase|install|keep|leave|load|lower|make|merge|move|name|open|pass|pick|point|put|"
    "raise|read|reduce|remove|rename|repeat|replace|restart|run|save|say|see|select|set|shorten|sign|split|"
    "start|store|take|train|try|turn|update|use|wait|write"
)
"""First words of the part of a message that says what to do."""
_CUT = re.compile(rf"(?:;|\.) +(?=(?:or +)?(?:{_ADVICE})\b)", re.IGNORECASE)
_WHAT = re.compile(r"(?P<what>[^\n]{1,120}?): (?P<why>\S.*)", re.DOTALL)
_WIDEST = 100


class Explained(NamedTuple):
    """The parts of a message; together they have all its words."""

    what: str
    """The file, option or repository that is wrong; empty for a message that names none."""
    why: str
    """What was expected and what came."""
    mend: str
    """What to do; empty for a message without advice."""


def explain(message: str) -> Explained:
    """Divide a message into its parts.

    Example:
        >>> explain("runs/a: already exists; choose another folder, or use --overwrite")
        Explained(what='runs/a', why='already exists', mend='choose another folder, or use --overwrite')
        >>> explain("the disk is full")
        Explained(what='', why='the disk is full', mend='')
    """
    cut = _CUT.search(message)
    before, mend = (message[: cut.start()], message[cut.end() :]) if cut else (message, "")
    found = _WHAT.fullmatch(before)
    return Explained(found["what"], found["why"], mend) if found else Explained("", before, mend)


def show_error(command: str, message: str, hint: str = "", stream: TextIO | None = None) -> None:
    """Print an error.

    Args:
        command: ``inlay evaluate``, ...
        message: of the exception.
        hint: one more line, such as the command that lists all options.
        stream: standard error if not given.
    """
    stream = sys.stderr if stream is None else stream
    if not is_terminal(stream):
        stream.write("".join(f"{line}\n" for line in (f"{command}: {message}", hint) if line))
        return
    from rich.panel import Panel
    from rich.text import Text

    told = explain(message)
    parts = [Text(told.what, style="bold")] if told.what else []
    parts += [Text(told.why)]
    if told.mend:
        parts += [Text.assemble(("How to mend it: ", "green"), told.mend)]
    if hint:
        parts += [Text(hint.strip("()"), style="dim")]
    console = terminal(stream)
    width = min(console.width, _WIDEST)
    panel = Panel(Text("\n").join(parts), title=Text(command), title_align="left", border_style="red", width=width)
    console.print(panel)
