"""Small pieces of Markdown: tables, and docstrings (reStructuredText) as MyST."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from itertools import pairwise

__all__ = ["cell", "field_texts", "prose", "summary", "table"]

_ROLE = re.compile(r":(?:py:)?\w+:`~?([^`<]+)`")
_LINK = re.compile(r"(?<![<+'\"`])(?<!\]\()https?://[^\s)>,'\"`]+[^\s)>,.:;'\"`]")
_LIST = re.compile(r"^\s*(?:[*-]|\d+\.) ")


def cell(text: str) -> str:
    """Text as it may stand in a cell of a table."""
    return prose(text.replace("\n", " ")).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def prose(docstring: str | None) -> str:
    r"""A docstring as Markdown: literals, roles, links and indented blocks after ``::``.

    Example:
        >>> prose("A sum of ``x``::" + chr(10) * 2 + "    a + b")
        'A sum of `x`:\n\n```text\na + b\n```'
    """
    lines, made, block = inspect.cleandoc(docstring or "").splitlines(), [], False
    for line in lines:
        if block:
            if line.startswith("    ") or not line.strip():
                made.append(line[4:])
                continue
            made = [*_closed(made), ""]
            block = False
        if line.rstrip().endswith("::"):
            made += [_inline(line.rstrip()[:-1]), "", "```text"]
            block = True
        else:
            made.append(_inline(line))
    text = "\n".join(_closed(made) if block else made)
    return text.replace("```text\n\n", "```text\n")


def summary(docstring: str | None) -> str:
    """The first paragraph of a docstring."""
    return prose(inspect.cleandoc(docstring or "").split("\n\n")[0])


def field_texts(owner: type) -> dict[str, str]:
    """Field -> the string under it in the source of a class or of its bases, as a cell of a table."""
    found: dict[str, str] = {}
    for one in reversed(owner.__mro__):
        if one.__module__.startswith("inlay."):
            body = getattr(ast.parse(textwrap.dedent(inspect.getsource(one))).body[0], "body", [])
            found |= dict(_texts(body))
    return found


def _texts(body: list[ast.stmt]) -> Iterable[tuple[str, str]]:
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield field.target.id, cell(inspect.cleandoc(text))


def _closed(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return [*lines, "```"]


def _inline(line: str) -> str:
    line = _ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", line)
    line = line.replace("``", "`")
    return _LINK.sub(lambda found: f"<{found[0]}>", line)
