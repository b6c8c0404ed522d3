"""The command line: ``inlay COMMAND``. This file imports nothing heavy, so ``inlay --help`` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version

from inlay.hub.errors import InlayError
from inlay.hub.safety.atomic import DISK_FULL
from inlay.recipes.commands.arguments.own_parts import IMPORT_HELP, import_own_parts
from inlay.recipes.commands.arguments.registry import COMMANDS, RENAMED
from inlay.recipes.distributed.failures import OtherProcessError
from inlay.recipes.terminal.error import show_error
from inlay.recipes.terminal.progress import hide_library_bars

__all__ = ["COMMANDS", "main"]

WELCOME = """inlay {version}: adapters that connect frozen encoders, language models and generators.

  inlay train llava          train a small system on the embedded miniature: minutes on a CPU
  inlay chat runs/llava      ask it about a picture
  inlay doctor               check this machine

inlay --help lists all commands.
"""

HELP = """usage: inlay COMMAND ...

Lightweight alignment adapters for multimodal language models.

commands:
{commands}

  inlay COMMAND --help    every option of a command
  inlay --version

{own_parts}
A BUNDLE argument is a bundle folder, a run folder, or owner/name on the Hub.
Exit status: 0 done, 2 wrong usage or input, 1 anything else.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; ``sys.argv[1:]`` if not given.

    Returns:
        The exit status.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    hide_library_bars()
    if not arguments:
        sys.stdout.write(WELCOME.format(version=version("inlay")))
        return 2
    if arguments[0] in {"-h", "--help", "help"}:
        lines = "\n".join(f"  {name:<12}{about}" for name, (_, about) in COMMANDS.items())
        print(HELP.format(commands=lines, own_parts=IMPORT_HELP))
        return 0
    if arguments[0] == "--version":
        print(f"inlay {version('inlay')}")
        return 0
    if arguments[0] not in COMMANDS:
        show_error("inlay", _unknown(arguments[0]))
        return 2
    try:
        own = import_own_parts(arguments[1:])
        run: Callable[[Sequence[str]], int] = import_module(COMMANDS[arguments[0]][0]).main
        return run(own)
    except OtherProcessError as error:
        return error.status  # the failed process prints the cause
    except InlayError as error:
        show_error(f"inlay {arguments[0]}", str(error))
        return 2
    except KeyboardInterrupt:
        print(f"\ninterrupted; saved files are complete; {_continues(arguments[0])}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except OSError as error:
        hint = f"; free some space: {_continues(arguments[0])}" if error.errno in DISK_FULL else ""
        show_error(f"inlay {arguments[0]}", f"{error}{hint}")
        return 1


def _unknown(command: str) -> str:
    """The error for a name that is not a command."""
    if command in RENAMED:
        return f"{command}: this command was renamed; use `inlay {RENAMED[command]}`"
    near = get_close_matches(command, COMMANDS, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"unknown command {command!r}; expected one of {', '.join(COMMANDS)}{meant}"


def _continues(command: str) -> str:
    """How to continue an interrupted command."""
    more = ", with --resume true if its run folder exists" if command == "train" else ""
    return f"run the same command again{more}"


if __name__ == "__main__":
    sys.exit(main())
