"""The parser of every command: the line under a field of a settings dataclass is the field's help."""

from __future__ import annotations

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
    return ArgumentParser(prog=f"inlay {command}", description=about)
