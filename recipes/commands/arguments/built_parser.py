"""The parser of a command, without running the command: for shell completion and the reference of the documentation.

A command builds its parser inside its ``main``. ``parse_args`` is replaced for the call, so that the finished parser is
taken at the moment at which it would read the arguments; nothing is loaded or run.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from jsonargparse import ArgumentParser

from inlay.recipes.commands.arguments.registry import COMMANDS

__all__ = ["ARGUMENTS", "parser_of"]

ARGUMENTS: dict[str, tuple[str, ...]] = dict.fromkeys(("train", "config", "check"), ("llava", "align"))
"""Command -> first arguments, each of which gives another parser; together these have the options of all systems."""


class _Found(BaseException):
    """Carries the parser out of a command."""

    def __init__(self, parser: ArgumentParser) -> None:
        self.parser = parser


def parser_of(command: str, *arguments: str) -> ArgumentParser:
    """The parser of a command, as its ``main`` builds it for these arguments.

    Raises:
        LookupError: the command finished without reading arguments.
    """

    def stop(self: ArgumentParser, *_: Any, **__: Any) -> None:
        raise _Found(self)

    module = import_module(COMMANDS[command][0])
    reads = ArgumentParser.parse_args
    ArgumentParser.parse_args = stop  # type: ignore[assignment, method-assign]
    try:
        module.main(list(arguments))
    except _Found as found:
        return found.parser
    finally:
        ArgumentParser.parse_args = reads  # type: ignore[method-assign]
    raise LookupError(f"{command}: main() never called parse_args of a jsonargparse parser")
