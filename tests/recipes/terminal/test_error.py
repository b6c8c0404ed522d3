"""Errors: one line with all words in a pipe; a panel with what, why and how to mend it on a terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from terminal_streams import Terminal, as_terminal

from inlay.recipes.terminal.error import Explained, explain, show_error

MESSAGE = "runs/a: the output folder exists already; choose another --output, or: --overwrite true replaces it"


def shown(message: str, hint: str = "", *, stream: StringIO | None = None) -> str:
    stream = StringIO() if stream is None else stream
    show_error("inlay train", message, hint, stream)
    return stream.text if isinstance(stream, Terminal) else stream.getvalue()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return as_terminal(monkeypatch)


def test_a_pipe_gets_one_line() -> None:
    assert shown(MESSAGE) == f"inlay train: {MESSAGE}\n"


def test_the_hint_is_a_line_of_its_own() -> None:
    assert shown("x", "(all options: inlay train --help)") == "inlay train: x\n(all options: inlay train --help)\n"


def test_a_terminal_gets_a_panel(terminal: Terminal) -> None:
    lines = shown(MESSAGE, stream=terminal).splitlines()
    assert "inlay train" in lines[0]
    assert [line.strip("│ ") for line in lines[1:3]] == ["runs/a", "the output folder exists already"]
    assert lines[3].startswith("│ How to mend it: choose another --output")
    assert max(map(len, lines)) <= 70


def test_the_panel_has_all_words_of_the_message(terminal: Terminal) -> None:
    words = shown(MESSAGE, "(all options: inlay train --help)", stream=terminal).replace("│", " ").split()
    for word in MESSAGE.replace(":", "").replace(";", "").split():
        assert word.rstrip(":") in [own.rstrip(":") for own in words]


def test_markup_in_a_message_is_literal(terminal: Terminal) -> None:
    assert "[red]x[/red]" in shown("[red]x[/red]", stream=terminal)


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("--precision: expected one of 'a', got b", ("--precision", "expected one of 'a', got b", "")),
        ("no such repository", ("", "no such repository", "")),
        # The second part is a fact, not advice.
        ("me/x: a is 3; the limit is 2", ("me/x", "a is 3; the limit is 2", "")),
        ("a: b; c is d; lower the rate; or e", ("a", "b; c is d", "lower the rate; or e")),
        ("a: it is gone. Choose another", ("a", "it is gone", "Choose another")),
        # A table of several lines stays whole.
        ("cannot attach:\n  port  wanted\n  llm   llama", ("", "cannot attach:\n  port  wanted\n  llm   llama", "")),
    ],
)
def test_a_message_is_divided_where_its_form_says_so(message: str, parts: tuple[str, str, str]) -> None:
    assert explain(message) == Explained(*parts)
