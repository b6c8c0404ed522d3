"""The parser of every command: the line under a field of a settings dataclass is the field's help."""

from __future__ import annotations

import re
import sys
from typing import NoReturn

from jsonargparse import ArgumentParser, set_parsing_settings

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
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    return _Parser(prog=f"inlay {command}", description=about)


class _Parser(ArgumentParser):
    """Says what is wrong; the hundred options of a training run are for ``--help``."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Status 2, as everywhere; types are named as people write them."""
        if not self.exit_on_error:
            super().error(message, ex)
        said = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", message)
        sys.stderr.write(f"{self.prog}: {said}\n(every option: {self.prog} --help)\n")
        self.exit(2)
