"""``inlay COMMAND --help``: words instead of Python's types, one usage line, and examples that run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, Literal

import pytest

from inlay.recipes.commands.arguments.built_parser import parser_of
from inlay.recipes.commands.arguments.help_text import value_words
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.commands.arguments.registry import COMMANDS

WITH_EXAMPLES = [
    "chat",
    "demo",
    "diff",
    "export",
    "gallery",
    "import",
    "inspect",
    "pairs",
    "pull",
    "push",
    "quantise",
    "search",
    "serve",
    "sign",
    "space",
    "verify",
]


def helped(command: str) -> str:
    first = ("llava",) if command in ("train", "config", "check") else ()
    return parser_of(command, *first).format_help()


@pytest.mark.parametrize("command", COMMANDS)
def test_no_python_names_of_types_and_no_markup(command: str) -> None:
    text = helped(command)
    assert not re.findall(r"<class|type: |Optional\[|Literal\[|\bnull\b|``|default: \)", text)
    assert text.startswith(f"usage: inlay {command}")
    assert "[--" not in text.split("\n\n")[0].replace("[--OPTION VALUE ...]", "")


@pytest.mark.parametrize("command", WITH_EXAMPLES)
def test_the_examples_are_valid_command_lines(command: str) -> None:
    examples = [line.strip() for line in helped(command).split("Examples:\n")[1].splitlines()]
    assert examples
    for example in examples:
        program, name, *arguments = shlex.split(example)
        assert (program, name) == ("inlay", command)
        parser: Any = parser_of(command)
        parser.checks.clear()  # the folders of the examples do not exist
        parser.parse_args(arguments)


def test_a_description_is_the_docstring_without_the_name_of_the_command() -> None:
    parser = command_parser("try", "``inlay try``: do a ``thing``.\n\nMore of it.", "try this")
    text = parser.format_help()
    assert "\nDo a `thing`.\n\nMore of it.\n" in text
    assert text.endswith("\n  Examples:\n  inlay try this\n")


def test_an_option_shows_its_value_and_its_default() -> None:
    parser = command_parser("try", "Try.")
    parser.add_argument("--rate", type=float, default=0.5, help="a rate")
    parser.add_argument("--output", type=Path, required=True, help="a file")
    parser.add_argument("--kind", type=Literal["a", "b"] | None, help="a kind")
    text = parser.format_help()
    assert "--rate NUMBER  a rate (default: 0.5)" in text
    assert "--output PATH  a file (required)" in text
    assert "--kind {a,b}   a kind\n" in text
    assert text.startswith("usage: inlay try --output PATH [options]\n")


def test_words_of_unions_and_lists() -> None:
    assert value_words(int | str | None) == "NUMBER|TEXT"
    assert value_words(tuple[Path, ...]) == "LIST of PATH"
    assert value_words(dict[str, float]) == "NAME: VALUE"
