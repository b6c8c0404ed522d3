"""Run a function in a forked process, so that its memory is separate and a crash does not end the suite.

The libraries are imported once, before the fork; no kernel may have run before, since threads and GPUs are not copied.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["in_child"]


def in_child(work: Callable[[], dict[str, Any]], *, limit: int = 0) -> dict[str, Any]:
    """Run a function in a forked process and return its result.

    Args:
        work: function that returns values for JSON.
        limit: seconds after which the process is ended; 0 for no limit.

    Raises:
        ChildProcessError: the function failed (with its error text), or the process was ended.
    """
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(limit)
        try:
            said = {"said": work()}
        except BaseException as error:  # reported to the parent process, which continues
            traceback.print_exc()
            said = {"failed": {"error": f"{type(error).__name__}: {error}"}}
        with os.fdopen(writing, "w", encoding="utf-8") as out:
            json.dump(said, out)
        sys.stderr.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answer:
        text = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status or not text:
        ended = f"after {limit} s" if status == -signal.SIGALRM else f"with status {status}"
        raise ChildProcessError(f"the process ended {ended} without a result")
    found: dict[str, Any] = json.loads(text)
    if "failed" in found:
        raise ChildProcessError(found["failed"]["error"])
    said_back: dict[str, Any] = found["said"]
    return said_back
