"""The generated parts of the documentation: commands, manifest, method cards and public names.

A page holds a fence such as ``{generated} names inlay.hub``. When Sphinx reads the page, the fence is replaced by
Markdown that is written from the parser, the schema or the classes, so that these pages cannot be out of date.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inlay_docs import (
    attribute_docstrings,
    code_breaks,
    commands,
    extras,
    manifest_schema,
    method_cards,
    public_names,
)

__all__ = ["FENCE", "GENERATORS", "expanded", "setup", "within"]

FENCE = re.compile(r"^```\{generated\} (\w+)(?: ([\w. /-]+))?\n```$", re.MULTILINE)

DOCS = Path(__file__).parents[2]
OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\.?/[^)]+)\)")
"""A link to a relative path."""
GENERATORS: dict[str, Callable[..., str]] = {
    "commands": commands.markdown,
    "extras": extras.markdown,
    "manifest": manifest_schema.markdown,
    "method": method_cards.markdown,
    "names": public_names.markdown,
}
"""Name in the fence -> function of the remaining words."""


def expanded(page: str) -> str:
    """A page with the text of its fences.

    Raises:
        KeyError: a fence of an unknown name.
    """
    return FENCE.sub(lambda found: GENERATORS[found[1]](*(found[2] or "").split()), page)


def within(page: str, folder: Path) -> str:
    """A page whose links lead to pages, or to files that can be copied beside them.

    A folder or a page of the repository outside of ``docs/`` is in no built documentation, so only the text is left.

    Args:
        page: Markdown.
        folder: of the page.

    Raises:
        FileNotFoundError: a link to a file that does not exist.
    """

    def link(found: re.Match[str]) -> str:
        target = (folder / found[2].partition("#")[0]).resolve()
        if not target.exists():
            raise FileNotFoundError(f"{folder}: a link leads to {found[2]}, which does not exist")
        outside = not target.is_relative_to(DOCS)
        return f"`{found[1]}`" if outside and (target.is_dir() or target.suffix == ".md") else found[0]

    return OUTSIDE.sub(link, page)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""

    def replace(application: Any, name: str, source: list[str]) -> None:
        source[0] = within(expanded(source[0]), Path(application.env.doc2path(name)).parent)

    def break_code(_app: Any, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
        if "body" in context:
            context["body"] = code_breaks.with_breaks(context["body"])

    app.connect("source-read", replace)
    app.connect("html-page-context", break_code)
    attribute_docstrings.connect(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
