"""The time of ``inlay --help``, compared with the import of transformers and peft."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from functools import partial

from benchmarks.outcome import Comparison, Outcome
from benchmarks.setting import Setting
from benchmarks.timing import Spent, in_turn

__all__ = ["command_line"]

OURS = "from inlay.recipes.cli import main; main(['--help'])"
THEIRS = "import transformers, peft"


def command_line(setting: Setting) -> Outcome:
    """``inlay --help`` in a separate process, compared with a process that only imports the libraries.

    There is always one round, because the difference is large: seconds against tenths of a second.
    """
    run = partial(_python, OURS)
    run()
    theirs, ours = in_turn((partial(_python, THEIRS), run), 1)
    return Outcome(
        title="inlay --help",
        comparisons=[
            Comparison.of_times(
                "import transformers, peft", "in a fresh Python", theirs, ours, target=0.3, better="lower"
            )
        ],
    )


def _python(code: str) -> Spent:
    start = time.perf_counter()
    # The CPU time of child processes is known only after they have ended, so both clocks are read here.
    before = _children()
    subprocess.run([sys.executable, "-P", "-c", code], check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own
    return Spent(time.perf_counter() - start, _children() - before)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
