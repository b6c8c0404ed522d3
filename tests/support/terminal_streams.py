"""A stream that is a terminal, for tests of what a person sees."""

from __future__ import annotations

import re
import sys
from io import StringIO

import pytest

__all__ = ["Terminal", "as_terminal"]


class Terminal(StringIO):
    """Keeps what is written, and says that it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True

    @property
    def text(self) -> str:
        """What was written, without colours and movements of the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.getvalue())


def as_terminal(monkeypatch: pytest.MonkeyPatch, name: str = "", *, columns: int = 70) -> Terminal:
    """A terminal outside CI.

    Args:
        monkeypatch: of the test.
        name: ``stdout`` or ``stderr`` to replace it for the test; call this in the test, not in a fixture, because
            pytest replaces these streams between the two.
        columns: its width.
    """
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    if name:
        monkeypatch.setattr(sys, name, stream)
    return stream
