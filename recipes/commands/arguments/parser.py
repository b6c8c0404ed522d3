"""The parser of every command: the line under a field of a settings dataclass is the field's help."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, set_parsing_settings

from inlay.recipes.commands.arguments.diagnosis import diagnose
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
    # No abbreviations: a second option with the same beginning would change what a script does.
    return _Parser(
        prog=f"inlay {command}", description=about, epilog=IMPORT_HELP, allow_abbrev=False, print_config=None
    )


class _Parser(ArgumentParser):
    """Names the argument that is wrong in one line; the hundred options of a training run are for ``--help``."""

    _arguments: Sequence[str] = ()

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:  # type: ignore[override]
        """Remember the arguments, for :meth:`error`."""
        self._arguments = sys.argv[1:] if args is None else args
        return super().parse_args(args, *more, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the error and end with status 2, as all commands do."""
        if not self.exit_on_error:
            super().error(message, ex)
        said = diagnose(self, self._arguments, ex) or " ".join(message.split())
        sys.stderr.write(f"{self.prog}: {said}\n(every option: {self.prog} --help)\n")
        self.exit(2)
