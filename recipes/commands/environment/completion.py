"""``inlay completion``: print a script that completes commands, options and values in bash, zsh or fish.

shtab (https://github.com/iterative/shtab) writes the script from an argparse parser. It gets plain copies of the
parsers of all commands, because it does not know the types of jsonargparse.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import shtab

from inlay.recipes.commands.arguments.built_parser import ARGUMENTS, parser_of
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.commands.arguments.registry import COMMANDS
from inlay.recipes.systems.registry import SYSTEMS

__all__ = ["completion_parser", "main"]

_FOLDERS = {"bundle", "folder", "one", "repo_id", "run", "runs", "source", "two"}
"""Positional arguments that may name a folder."""
_STAGE = re.compile(r"--stages\.(\w+)\.")
_ABOUT = (
    "Print a script that completes commands, options, values and files. Save it where the shell looks for it: bash: "
    "~/.local/share/bash-completion/completions/inlay (or a file that ~/.bashrc sources); zsh: _inlay in a folder of "
    "$fpath; fish: ~/.config/fish/completions/inlay.fish. Print it again after an update."
)


def main(argv: Sequence[str]) -> int:
    """Print the script."""
    parser = command_parser("completion", _ABOUT)
    parser.add_argument("shell", type=Literal["bash", "zsh", "fish"], help="the shell")
    parsed = parser.parse_args(list(argv))
    sys.stdout.write(shtab.complete(completion_parser(), parsed.shell) + "\n")
    return 0


def completion_parser() -> argparse.ArgumentParser:
    """All commands with their options and values as one parser of argparse; imports no torch."""
    root = argparse.ArgumentParser(prog="inlay")
    root.add_argument("--version", action="store_true", help="print the version")
    commands = root.add_subparsers()
    settings = _settings()
    for name, (_, about) in COMMANDS.items():
        own = commands.add_parser(name, help=_line(about), description=_line(about))
        if name in ARGUMENTS:
            first = own.add_argument("system", help="a system, or a YAML file")
            first.complete = _words_or_files(SYSTEMS)  # type: ignore[attr-defined]
        for action in settings if name in ARGUMENTS else parser_of(name)._actions:
            _copy(own, action)
        if name == "check":
            _copy(own, argparse.Action(["--page"], "page", type=Path, help="write an HTML page of the data"))
    return root


def _settings() -> list[argparse.Action]:
    """The settings of a run, with the stages of every system."""
    found = {_name(action): action for system in ARGUMENTS["train"] for action in parser_of("config", system)._actions}
    stages = dict.fromkeys(stage for one in SYSTEMS.values() for stage in one.recipe().stages)
    for name, action in list(found.items()):
        if known := _STAGE.match(name):
            others = (name.replace(known[0], f"--stages.{stage}.") for stage in stages)
            found |= {other: action for other in others if other not in found}
    return [_renamed(action, name) for name, action in found.items() if name.startswith("--")]


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else action.dest


def _renamed(action: argparse.Action, name: str) -> argparse.Action:
    same = argparse.Action([name], action.dest, nargs=action.nargs, choices=action.choices, help=action.help)
    same._typehint = _hint(action)  # type: ignore[attr-defined]
    return same


def _copy(parser: argparse.ArgumentParser, action: argparse.Action) -> None:
    """Add an argument with its help, and the values or files that it takes."""
    if action.help == argparse.SUPPRESS or "--help" in action.option_strings:
        return
    options: dict[str, Any] = {"help": _line(action.help or "")}
    if action.nargs == 0:
        parser.add_argument(*action.option_strings, action="store_true", **options)
        return
    values = list(action.choices or _values(_hint(action)))
    positional = not action.option_strings
    names = [action.dest] if positional else action.option_strings
    added = parser.add_argument(*names, nargs="?" if positional else None, choices=values or None, **options)
    if not values and ((positional and action.dest in _FOLDERS) or _is_path(_hint(action))):
        added.complete = shtab.FILE  # type: ignore[attr-defined]


def _hint(action: Any) -> Any:
    return getattr(action, "_typehint", None) or action.type


def _values(hint: Any) -> list[str]:
    """The values of a Literal or of a bool; empty for another type."""
    if hint is bool:
        return ["true", "false"]
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    inner = (
        [one for one in get_args(hint) if one is not type(None)] if get_origin(hint) not in (dict, list, tuple) else []
    )
    return [value for one in inner for value in _values(one)]


def _is_path(hint: Any) -> bool:
    return hint is Path or any(_is_path(one) for one in get_args(hint))


def _words_or_files(words: Iterable[str]) -> dict[str, Any]:
    """Completes words and the names of files."""
    listed = " ".join(words)
    return {
        "bash": "_inlay_systems",
        "zsh": f"{{compadd {listed}; _files}}",
        "fish": f"(printf '%s\\n' {listed}; __fish_complete_path (commandline -ct))",
        "preamble": {"bash": f"_inlay_systems() {{\n  compgen -W '{listed}' -- $1\n  compgen -f -- $1\n}}\n"},
    }


def _line(text: str) -> str:
    """Help as one short line; a percent sign is literal."""
    return " ".join(text.replace("%(default)s", "").split()).replace("%", "%%")[:120]
