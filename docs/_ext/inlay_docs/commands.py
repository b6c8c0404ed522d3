"""The options of every command, read from its parser; nothing is loaded or run."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action

from inlay.recipes.cli import COMMANDS
from inlay.recipes.commands.arguments.built_parser import ARGUMENTS, parser_of
from inlay_docs.markdown import cell, table

__all__ = ["markdown", "options"]

_STAGE = re.compile(r"^--stages\.(\w+)")


def options(command: str) -> list[tuple[str, str, str, str]]:
    """Name, type, default and meaning of every argument; stage options once, as ``--stages.STAGE``."""
    rows: dict[str, tuple[str, str, str, str]] = {}
    firsts: list[tuple[str, ...]] = [(name,) for name in ARGUMENTS[command]] if command in ARGUMENTS else [()]
    for action in (action for first in firsts for action in parser_of(command, *first)._actions):
        name = next((one for one in action.option_strings if one.startswith("--")), action.dest.upper())
        if action.help == SUPPRESS or name.endswith("help"):
            continue
        name = _STAGE.sub("--stages.STAGE", name)
        rows.setdefault(name, (name, _type(action), _default(action, name), _help(action)))
    return list(rows.values())


def markdown() -> str:
    """A section for each command, in the order of ``inlay --help``."""
    return "\n\n".join(map(_section, COMMANDS))


def _section(command: str) -> str:
    """What a command does, and the table of its arguments."""
    parser = parser_of(command, *ARGUMENTS.get(command, ())[:1])
    about = " ".join((parser.description or COMMANDS[command][1]).split())
    rows = [
        (f"`{name}`", kind and f"`{cell(kind)}`", default, help_) for name, kind, default, help_ in options(command)
    ]
    return f"## inlay {command}\n\n{about}\n\n{table(('option', 'type', 'default', 'meaning'), rows)}"


def _type(action: Action) -> str:
    if action.choices:
        return " or ".join(map(str, action.choices))
    if action.nargs == 0:
        return ""
    kind = getattr(action, "_typehint", None) or action.type
    name = "" if kind is None else (kind.__name__ if isinstance(kind, type) else str(kind))
    name = re.sub(r"\b(?:\w+\.)+(?=\w)", "", name).replace(" | None", "")
    while found := re.fullmatch(r"Optional\[(.*)\]", name):
        name = found[1]
    name = re.sub(r"Literal\[([^]]*)\]", lambda found: found[1].replace(", ", " or ").replace("'", ""), name)
    return re.sub(r"Union\[(.*)\]", lambda found: found[1].replace(", ", " or "), name)


def _default(action: Action, name: str) -> str:
    if action.default in (None, "", SUPPRESS) or action.nargs == 0:
        return ""
    if name.startswith("--stages.STAGE"):
        return "of the stage"
    text = str(getattr(action.default, "value", action.default))
    return f"`{cell(text)}`" if len(text) <= 60 else "see `inlay config`"


def _help(action: Action) -> str:
    text = " ".join((action.help or "").split())
    return cell(text.replace("%(default)s", str(action.default)).replace("%%", "%"))
