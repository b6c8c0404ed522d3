"""Tables of text. Columns are aligned by the width that a terminal gives to characters, so CJK text lines up too."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from inlay.recipes.terminal.console import draw, plain_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["aligned", "fact_lines", "show_facts", "show_table"]

_GAP = 2
"""Spaces between two columns."""


def aligned(rows: Sequence[Sequence[str]], *, right: bool | Sequence[int] = True) -> str:
    """Rows as plain text, without rules or wrapping.

    Args:
        rows: cells, the same number in each row; usually the first row has the headings.
        right: align all columns but the first on the right, for numbers; or the numbers of such columns.

    Example:
        >>> print(aligned([("figure", "adapter"), ("cider", "121.0")]))
        figure  adapter
        cider     121.0
    """
    return plain_text(_table(rows, right=right))


def fact_lines(facts: Mapping[str, Any]) -> str:
    """One fact a line: its name, and its value.

    Example:
        >>> print(fact_lines({"files": "intact", "signature": "none"}))
        files      intact
        signature  none
    """
    return aligned([(name, str(value)) for name, value in facts.items()], right=False)


def show_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values; on a terminal a long value continues in its own column."""
    rows = [(name, str(value)) for name, value in facts.items()]
    draw(_table(rows, right=False, first="bold"), fact_lines(facts))


def show_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, none: str = "none") -> None:
    """Print rows, one a line; headings only on a terminal.

    A program that reads the lines meets only rows, with a space between two cells.

    Args:
        headings: one a column.
        rows: cells.
        none: printed if there are no rows.
    """
    if not rows:
        draw(none, none)
        return
    draw(_table(rows, right=False, headings=headings), "\n".join(map(_line, rows)))


def _line(row: Sequence[str]) -> str:
    return " ".join(map(_printable, row)).rstrip()


def _table(
    rows: Sequence[Sequence[str]],
    *,
    right: bool | Sequence[int],
    headings: Sequence[str] = (),
    first: str | None = None,
) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=bool(headings), header_style="bold")
    for number in range(len(rows[0])):
        on_right = number in right if isinstance(right, Sequence) else right and number > 0
        justify: Literal["left", "right"] = "right" if on_right else "left"
        heading = Text(headings[number]) if headings else ""
        table.add_column(heading, justify=justify, overflow="fold", style=first if first and not number else None)
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    return table


def _printable(text: str) -> str:
    """The text with control characters escaped: a name from a file must not move the cursor."""
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) == "Cc" and c != "\n" else c for c in text)
