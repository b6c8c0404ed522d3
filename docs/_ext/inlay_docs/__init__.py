"""The generated parts of the documentation: commands, manifest, method cards and public names.

A page holds a fence such as ``{generated} command evaluate``. When Sphinx reads the page, the fence is replaced by
Markdown that is written from the parser, the schema or the classes, so that these pages cannot be out of date.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from inlay_docs import commands, extras, manifest_schema, method_cards, public_names

__all__ = ["FENCE", "GENERATORS", "expanded", "setup"]

FENCE = re.compile(r"^```\{generated\} (\w+)(?: ([\w. /-]+))?\n```$", re.MULTILINE)

GENERATORS: dict[str, Callable[..., str]] = {
    "command": commands.markdown,
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


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""

    def replace(_: Any, __: str, source: list[str]) -> None:
        source[0] = expanded(source[0])

    app.connect("source-read", replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
