"""Calls of the user's own functions: an error in one names the function, the row and the line."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from numbers import Real
from typing import Any, TypeVar

from inlay.hub.errors import InlayError

__all__ = ["UserFunctionError", "calling", "guarded", "place_of", "real_number"]

T = TypeVar("T")


class UserFunctionError(InlayError):
    """A function of the user's own fails, or returns a value of another type than expected."""


def place_of(error: BaseException) -> str:
    """The file and line in which an error was raised; empty for code without a file.

    Example:
        >>> import json
        >>> try:
        ...     json.loads("{")
        ... except ValueError as error:
        ...     place_of(error).rpartition("/")[2].partition(",")[0]
        'decoder.py'
    """
    last = traceback.extract_tb(error.__traceback__)[-1]
    return "" if last.filename.startswith("<") else f"{last.filename}, line {last.lineno}"


@contextmanager
def calling(what: str, function: Any, row: str = "", *, kind: type[InlayError] = UserFunctionError) -> Iterator[None]:
    """A context for a call of a user's function; an :class:`InlayError` is not changed.

    Args:
        what: registry and name, such as ``metric mine``.
        function: the user's.
        row: what the function was called for; notes of the error are added.
        kind: class of the error.

    Raises:
        InlayError: the function fails; of the class `kind`, with the exception as its cause.
    """
    try:
        yield
    except InlayError:
        raise
    except Exception as error:
        rows = ", ".join([*([row] if row else []), *getattr(error, "__notes__", ())])
        place = f" ({place_of(error)})" if place_of(error) else ""
        failed = f"{_name(function)} failed{f' for {rows}' if rows else ''}: {type(error).__name__}: {error}"
        raise kind(f"{what}: {failed}{place}; correct the function") from error


def guarded(what: str, function: Callable[..., T], row: Callable[..., str] = lambda *_, **__: "") -> Callable[..., T]:
    """The function, whose errors are those of :func:`calling`.

    Args:
        what: registry and name.
        function: the user's.
        row: function from the arguments of a call to the name of its row.
    """

    @wraps(function)
    def called(*arguments: Any, **options: Any) -> T:
        with calling(what, function, row(*arguments, **options)):
            return function(*arguments, **options)

    return called


def real_number(value: Any, what: str, function: Any, row: str, *, kind: type[InlayError] = UserFunctionError) -> float:
    """A value that a user's function returned, as a finite number; a tensor or array of one number is converted.

    Raises:
        InlayError: another value.
    """
    if not isinstance(value, Real) and getattr(value, "ndim", None) == 0:
        value = value.item()
    if not isinstance(value, Real) or not math.isfinite(value):
        raise kind(
            f"{what}: {_name(function)} for {row}: expected a finite number, got {value!r}; correct the function"
        )
    return float(value)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", function))
