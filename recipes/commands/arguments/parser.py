"""The parser of every command: the line under a field of a settings dataclass is the field's help."""

from __future__ import annotations

import re
import sys
from difflib import get_close_matches
from typing import NoReturn

from jsonargparse import ArgumentParser, set_parsing_settings

from inlay.recipes.commands.arguments.own_parts import IMPORT_HELP

__all__ = ["command_parser"]


def command_parser(command: str, about: str | None) -> ArgumentParser:
    """An empty parser.

    Args:
        command: ``evaluate``, ``train llava``, ...
        about: what the command does.

    Example:
        >>> command_parser("chat", "Ask about a picture.").prog
        'inlay chat'
    """
    # A value can name a class, which would be imported before it is refused; no setting here is a class.
    set_parsing_settings(
        docstring_parse_attribute_docstrings=True, import_path_denylist=["*"], import_path_allowlist=["inlay"]
    )
    # Half a name is no name: a second option with the same beginning would change what a script does.
    return _Parser(prog=f"inlay {command}", description=about, epilog=IMPORT_HELP, allow_abbrev=False)


class _Parser(ArgumentParser):
    """Says what is wrong; the hundred options of a training run are for ``--help``."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Status 2, as everywhere; types are named as people write them."""
        if not self.exit_on_error:
            super().error(message, ex)
        said = _short(re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", message))
        sys.stderr.write(f"{self.prog}: {said}{self._meant(said)}\n(every option: {self.prog} --help)\n")
        self.exit(2)

    def _meant(self, said: str) -> str:
        """The option that is nearest to one that does not exist."""
        if not (unknown := re.search(r"unrecognized arguments: (--[^\s=]+)", said)):
            return ""
        near = get_close_matches(unknown[1], self._option_string_actions, n=1)
        return f"; perhaps {near[0]} is meant" if near else ""


def _short(said: str) -> str:
    r"""One line of what jsonargparse says in eight about a value of the wrong type, or a field that does not exist.

    Example:
        >>> _short('Parser key "seed":\n  Expected a int. Got value: abc')
        '--seed: expected int, got abc'
    """
    if not (key := re.match(r'Parser key "([\w.]+)":', said)):
        return " ".join(said.split())
    if unknown := re.search(r"Option '(\w+)' is not accepted", said):
        return f"--{key[1]}.{unknown[1]}: there is no such option"
    if "denied by the" in said or "dot import path" in said:
        return f"--{key[1]}: expected its fields, such as --{key[1]}.FIELD VALUE; settings are plain values, no class"
    wanted = re.findall(r"Expected an? (.+?)(?:\. Got value: |\n|$)", said)
    given = re.search(r"(?:Got value|Given value): (.*)", said)
    kinds = [re.sub(r"^(?:typing\.)?Literal\[(.*)\]$", r"one of \1", kind) for kind in wanted if kind != "NoneType"]
    if not kinds or given is None:
        return f"--{key[1]}: {' '.join(said[key.end() :].split())}"
    return f"--{key[1]}: expected {' or '.join(kinds)}, got {given[1]}"
