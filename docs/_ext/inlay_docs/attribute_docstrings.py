"""Docstrings of fields and properties as they are written.

Napoleon reads ``Temperature: above 0`` under a field as a type, ``Temperature``, and its description. Docstrings here
have no types, which stand in the annotation, so such a text must stay one sentence.
"""

from __future__ import annotations

from typing import Any

from sphinx.ext.napoleon.docstring import GoogleDocstring

__all__ = ["connect"]

_FIELDS = ("attribute", "data", "property")


def connect(app: Any) -> None:
    """Have autodoc use the docstrings of fields and properties without Napoleon's division."""
    written: dict[str, list[str]] = {}

    def before(application: Any, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
        if what in _FIELDS:  # As that of a function: its sections, such as "Raises:", are read.
            written[name] = GoogleDocstring(lines, application.config, application, "function", name, value).lines()

    def after(_: Any, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
        if what in _FIELDS:
            lines[:] = written.pop(name, lines)

    app.connect("autodoc-process-docstring", before, priority=400)  # Napoleon's own is 500.
    app.connect("autodoc-process-docstring", after, priority=600)
