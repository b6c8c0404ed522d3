"""The parser of all commands: the docstring of a field in a settings dataclass is its help text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, set_parsing_settings

from inlay.recipes.commands.arguments.diagnosis import diagnose
from inlay.recipes.commands.arguments.own_parts import IMPORT_HELP
from inlay.recipes.terminal.error import show_error

__all__ = ["CommandParser", "command_parser"]


def command_parser(command: str, about: str | None) -> CommandParser:
    """A parser without arguments.

    Args:
        command: ``evaluate``, ``train llava``, ...
        about: description for the help text.

    Example:
        >>> command_parser("chat", "Ask about a picture.").prog
        'inlay chat'
    """
    # jsonargparse would import a class named in a value before rejecting it; no setting is a class.
    set_parsing_settings(
        docstring_parse_attribute_docstrings=True, import_path_denylist=["*"], import_path_allowlist=["inlay"]
    )
    # No abbreviations: a new option with the same prefix would break scripts.
    return CommandParser(
        prog=f"inlay {command}", description=about, epilog=IMPORT_HELP, allow_abbrev=False, print_config=None
    )


class CommandParser(ArgumentParser):
    """Reports the wrong argument in one line, without the usage text of a hundred options.

    A command imports torch and transformers after it has parsed its arguments, so an error is reported at once.
    """

    _arguments: Sequence[str] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        self.checks: list[Callable[[Any], object]] = []
        """Called with the parsed arguments; they raise errors, such as for a missing folder."""
        super().__init__(*args, **options)

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parse and check the arguments; they are stored for :meth:`error`."""
        self._arguments = sys.argv[1:] if args is None else args
        parsed = super().parse_args(args, *more, **options)
        for check in self.checks:
            check(parsed)
        return parsed

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the error and exit with status 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        said = diagnose(self, self._arguments, ex) or self._with_dashes(" ".join(message.split()))
        show_error(self.prog, said, f"(all options: {self.prog} --help)")
        self.exit(2)

    def _with_dashes(self, message: str) -> str:
        """The message with missing options as they are written on the command line."""
        options = {action.dest: action.option_strings[-1] for action in self._actions if action.option_strings}
        head, required, names = message.partition("arguments are required: ")
        return head + required + ", ".join(options.get(name, name) for name in names.split(", "))
