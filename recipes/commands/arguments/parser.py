"""The parser of all commands: the docstring of a field in a settings dataclass is its help text."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, set_parsing_settings

from inlay.hub.errors import InlayError
from inlay.recipes.commands.arguments.diagnosis import diagnose
from inlay.recipes.commands.arguments.help_text import HelpFormatter
from inlay.recipes.commands.arguments.own_parts import IMPORT_HELP
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.terminal.error import show_error

__all__ = ["CommandParser", "command_parser"]

_TITLE = re.compile(r"``inlay [a-z ]+``: ")
"""How the docstring of a command's file starts."""


def command_parser(command: str, about: str | None, *examples: str) -> CommandParser:
    """A parser without arguments.

    Args:
        command: ``evaluate``, ``train llava``, ...
        about: description for the help text: the docstring of the command's file.
        examples: command lines without ``inlay``, for the end of the help text.

    Example:
        >>> command_parser("chat", "Ask about a picture.").prog
        'inlay chat'
    """
    # jsonargparse would import a class named in a value before rejecting it; no setting is a class.
    set_parsing_settings(
        docstring_parse_attribute_docstrings=True, import_path_denylist=["*"], import_path_allowlist=["inlay"]
    )
    about = _TITLE.sub("", about or "").replace("``", "`")
    shown = "".join(f"  inlay {example}\n" for example in examples)
    # No abbreviations: a new option with the same prefix would break scripts.
    return CommandParser(
        prog=f"inlay {command}",
        description=about[:1].upper() + about[1:],
        epilog=f"{IMPORT_HELP}\n\n{'  Examples:' + chr(10) + shown if shown else ''}".rstrip(),
        allow_abbrev=False,
        print_config=None,
        formatter_class=HelpFormatter,
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

    def add_class_arguments(
        self, theclass: Any, nested_key: str | None = None, *more: Any, title: str | None = None, **options: Any
    ) -> Any:
        """Add an option for each field of a settings class, and one for a YAML file with all of them.

        Args:
            theclass: the settings class.
            nested_key: prefix of the options.
            more: further arguments of jsonargparse.
            title: heading of the options in the help text; the first line of the class's docstring if not given.
            options: further arguments of jsonargparse.
        """
        added = super().add_class_arguments(theclass, nested_key, *more, **options)
        if title is not None:
            groups: Any = self.groups
            groups[nested_key].title = title
        for action in self._actions:
            if f"--{nested_key}" in action.option_strings:
                action.help, action.metavar = f"YAML file with the options --{nested_key}.*", "FILE"
        return added

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parse and check the arguments; they are stored for :meth:`error`."""
        self._arguments = sys.argv[1:] if args is None else args
        if any(action.nargs == "?" for action in self._get_positional_actions()):
            args = self._options_first(self._arguments)
        parsed = super().parse_args(args, *more, **options)
        for check in self.checks:
            try:
                check(parsed)
            except InlayError as error:
                if self._as_option(str(error)) == str(error):
                    raise
                raise SettingsError(self._as_option(str(error))) from error
        return parsed

    def _options_first(self, arguments: Sequence[str]) -> list[str]:
        """Move options before the positionals: argparse rejects an optional positional after an option."""
        options: list[str] = []
        positionals: list[str] = []
        words = iter(arguments)
        for word in words:
            if not word.startswith("-") or word == "-":
                positionals.append(word)
                continue
            options.append(word)
            action = self._option_string_actions.get(word)
            if action is not None and action.nargs != 0:
                options += [value for value in [next(words, None)] if value is not None]
        return options + positionals

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the error and exit with status 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        said = diagnose(self, self._arguments, ex) or self._with_dashes(" ".join(message.split()))
        show_error(self.prog, said, f"(all options: {self.prog} --help)")
        self.exit(2)

    def _as_option(self, message: str) -> str:
        """The message of a settings class with its first field as it is written on the command line."""
        known = f"--{message.partition(':')[0]}" in self._option_string_actions
        return f"--{message}" if known else message

    def _with_dashes(self, message: str) -> str:
        """The message with missing options as they are written on the command line."""
        options = {action.dest: action.option_strings[-1] for action in self._actions if action.option_strings}
        head, unknown, words = message.partition("unrecognized arguments: ")
        if unknown:
            return f"{words}: more arguments than expected; write a text of several words in quotes"
        head, required, names = message.partition("arguments are required: ")
        return head + required + ", ".join(options.get(name, name) for name in names.split(", "))
