"""A terminal gets drawings; files, pipes, CI and dumb terminals get plain text."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from terminal_streams import Terminal, as_terminal

from inlay.recipes.terminal.console import draw, is_terminal, plain_text, show_json


@pytest.fixture(autouse=True)
def _outside_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    as_terminal(monkeypatch)


def test_a_stream_that_is_no_terminal_is_plain() -> None:
    assert not is_terminal(StringIO())
    assert is_terminal(Terminal())


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("CI", "1"), ("TERM", "dumb")])
def test_ci_and_dumb_terminals_are_plain(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert not is_terminal(Terminal())


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_a_ci_variable_that_is_off_changes_nothing(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", value)
    assert is_terminal(Terminal())


def test_plain_text_is_never_wrapped() -> None:
    assert plain_text("word " * 100) == ("word " * 100).rstrip()


def test_texts_are_literal() -> None:
    assert plain_text("[bold]x[/bold] :smile:") == "[bold]x[/bold] :smile:"


def test_draw_gives_a_pipe_the_plain_form() -> None:
    file = StringIO()
    draw("drawn", "plain", file)
    assert file.getvalue() == "plain\n"


def test_draw_gives_a_terminal_the_drawing() -> None:
    file = Terminal()
    draw("drawn", "plain", file)
    assert file.getvalue() == "drawn\n"


def test_json_is_the_only_output(capsys: Any) -> None:
    show_json({"a": [1, "\u2028"]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, "\u2028"]}
