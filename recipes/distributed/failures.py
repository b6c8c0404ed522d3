"""Determines the process that failed first: it reports the error, and the others end without a message.

When one process ends, the others lose their connection to it, and gloo and NCCL report that at length. So each process
that fails writes into the shared store. The first entry is the cause; all others are consequences. This module does not
import torch, because the command line needs :class:`OtherProcessError` before torch is imported.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn

from inlay.hub.errors import InlayError

__all__ = ["ConnectionLostError", "OtherProcessError", "ended_by_sigterm", "raise_first_failure", "silence_others"]

_FAILED = "inlay/failed"
"""The key in the store: rank, exit status and text of the process that failed first."""
_INPUT, _OTHER, _INTERRUPTED = 2, 1, 130
"""Exit statuses, the same as those of the command line."""


class OtherProcessError(InlayError):
    """Another process has failed and reported the error; this process stops with it.

    Args:
        text: the number of that process, and its error.
        status: exit status of that process.
    """

    def __init__(self, text: str, status: int = _INPUT) -> None:
        super().__init__(text)
        self.status = status


class ConnectionLostError(InlayError):
    """The connection between processes broke, and no process has reported an error."""


def raise_first_failure(store: Any, number: int, error: BaseException) -> NoReturn:
    """Raise a process's own error if it is the first that has failed, and an :class:`OtherProcessError` otherwise.

    Args:
        store: torch's store, shared by the processes.
        number: rank of this process.
        error: the error of this process.

    Raises:
        OtherProcessError: another process has failed before.
        ConnectionLostError: no process has failed before, and it is a connection error: a process was killed, or the
            network is down.
    """
    if isinstance(error, OtherProcessError):  # raised by stop_together
        raise error
    status = _INPUT if isinstance(error, InlayError) else _OTHER
    if isinstance(error, KeyboardInterrupt):
        status = _INTERRUPTED
    lost = _is_lost_connection(error)
    kept = "" if lost else f"{number} {status} {error or type(error).__name__}"
    try:
        first = store.compare_set(_FAILED, "", kept).decode() if kept else _earlier(store)
    except Exception:  # The process that hosted the store has ended.
        first = kept
    if first and not first.startswith(f"{number} "):
        other, code, text = first.split(" ", 2)
        raise OtherProcessError(f"process {number} stops with process {other}: {text}", int(code)) from None
    if lost:
        reason = str(error).partition("\n")[0]
        raise ConnectionLostError(
            f"process {number} lost the connection to another process, which was killed or cannot be reached: {reason}"
        ) from None
    raise error


def _earlier(store: Any) -> str:
    text: str = store.get(_FAILED).decode() if store.check([_FAILED]) else ""
    return text


def _is_lost_connection(error: BaseException) -> bool:
    """Whether an error comes from torch's exchange between processes; gloo's errors have no specific type."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def silence_others() -> None:
    """Print no traceback of an uncaught :class:`OtherProcessError`: the other process prints the cause."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, OtherProcessError):
            before(kind, error, trace)

    sys.excepthook = hook


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Raise SystemExit on SIGTERM, which torchrun sends when another process has failed, so that cleanup code runs.

    A process that is already handling its own error ignores the signal.
    """

    def end(number: int, _: FrameType | None) -> None:
        if sys.exc_info()[1] is None:
            raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
