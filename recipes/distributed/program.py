"""The command that started this program, for starting it again."""

from __future__ import annotations

import os
import sys

from inlay.recipes.settings.errors import SettingsError

__all__ = ["program"]


def program(processes: int = 2) -> list[str]:
    """The command that started this program: ``python script.py ...``, ``python -m package ...`` or ``inlay ...``.

    Args:
        processes: number of processes, for the error.

    Raises:
        SettingsError: a notebook or an interactive session, which cannot be started again.
    """
    started, main = sys.orig_argv[1:], sys.modules["__main__"]
    path = str(getattr(main, "__file__", None) or "")
    text = "-c" in started[: len(started) - len(sys.argv) + 1]  # python -c TEXT
    if sys.flags.interactive or not (text or os.path.isfile(path)):
        raise SettingsError(
            f"devices: {processes} processes each run the program from its beginning, and a notebook or an "
            "interactive session cannot be run again; write these lines into a script (python train.py), use the "
            "command `inlay train`, or leave devices at 1"
        )
    if not text and getattr(main, "__spec__", None) is None:  # A script; its path may be relative.
        started = [path if argument == sys.argv[0] else argument for argument in started]
    return [sys.executable, *started]
