"""The text of ``inlay COMMAND --help``: a short usage line, and the value of each option in plain words.

argparse lists every option in the usage line, and jsonargparse prints Python's names of types and null defaults.
"""

from __future__ import annotations

import argparse
import textwrap
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import DefaultHelpFormatter

__all__ = ["HelpFormatter", "value_words"]

_WORDS: dict[Any, str] = {bool: "{true,false}", int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}
"""Type -> its values; bool before int, from which it derives."""
_NONE = type(None)


def value_words(hint: Any) -> str:
    """The value of an option in words, from its type; empty for a settings class.

    Example:
        >>> [value_words(hint) for hint in (int | None, Path, bool, Literal["f16", "f32"], list[str])]
        ['NUMBER', 'PATH', '{true,false}', '{f16,f32}', 'LIST of TEXT']
    """
    origin, inner = get_origin(hint), [one for one in get_args(hint) if one is not _NONE]
    if origin is Literal:
        return "{" + ",".join(map(str, inner)) + "}"
    if origin in (Union, types.UnionType):
        return "|".join(dict.fromkeys(words for one in inner if (words := value_words(one))))
    if origin in (list, tuple):
        return f"LIST of {value_words(inner[0])}"
    if origin is dict:
        return "NAME: VALUE"
    # A restricted type, such as PositiveInt, derives from int.
    return next((words for kind, words in _WORDS.items() if isinstance(hint, type) and issubclass(hint, kind)), "")


class HelpFormatter(DefaultHelpFormatter):
    """Formats the help of a command."""

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], *args: Any, **options: Any) -> None:
        """The positional arguments, the required options, and ``[options]`` for all others."""
        words = [self._prog]
        for action in actions:
            if not action.option_strings:
                name = str(action.metavar or action.dest.upper())
                words.append({"+": f"{name} [{name} ...]", "?": f"[{name}]"}.get(str(action.nargs), name))
            elif action.required:
                value = action.metavar or self._get_default_metavar_for_optional(action)
                words.append(f"{action.option_strings[0]} {value}")
        super().add_usage(usage or " ".join([*words, "[options]"]).replace("%", "%%"), actions, *args, **options)

    def _get_default_metavar_for_positional(self, action: argparse.Action) -> str:
        return action.dest.upper()

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        hint = getattr(action, "_typehint", None) or action.type
        return value_words(hint) or action.dest.rpartition(".")[2].upper()

    def _get_help_string(self, action: argparse.Action) -> str:
        about = (action.help or "").replace("``", "`")
        if "%(default)" in about or not action.option_strings or action.nargs == 0:
            return about
        if action.required:
            return f"{about} (required)"
        default = getattr(action.default, "value", action.default)
        if default in (None, "", [], (), {}, argparse.SUPPRESS) or isinstance(default, bool):
            return f"{about} (default: true)" if default is True else about
        return f"{about} (default: %(default)s)"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Paragraphs as they are filled by argparse; indented lines, such as examples, stay as they are."""
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            part if part.startswith("  ") else textwrap.fill(" ".join(part.split()), width, initial_indent=indent)
            for part in paragraphs
        )
