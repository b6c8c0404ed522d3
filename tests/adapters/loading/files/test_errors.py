"""The reason in an error of a library: one line of bounded length."""

from __future__ import annotations

from inlay.adapters.loading.files.errors import reason_of


def test_a_long_reason_is_cut() -> None:
    assert len(reason_of(ValueError("x" * 5000))) < 320


def test_a_reason_is_one_line_without_control_characters() -> None:
    assert reason_of(OSError("no\n\x1b[1m  file")) == "no [1m file"
