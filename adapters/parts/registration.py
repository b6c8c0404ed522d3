"""Registration of objects under a name, checked at the call.

A table maps a name to an entry. A name that a bundle or a settings file stores must always refer to the same object, so
a different entry under the same name is an error. Registering the same definition again is allowed, since a module may
be imported twice, and a notebook cell may run again after an edit.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import MutableMapping
from typing import TypeVar

from inlay.hub.errors import InlayError

__all__ = ["IMPORT_OWN", "RegistrationError", "check_function", "register", "same_definition"]

IMPORT_OWN = "for one of your own, import the module that registers it first (on the command line: --import MODULE)"
"""Advice of every error about an unknown name."""

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


class RegistrationError(InlayError):
    """An object cannot be registered: a required attribute is missing, or its name is taken."""


def register(table: MutableMapping[str, T], name: object, entry: T, what: str, *, by: str = "") -> None:
    """Add an entry to a table.

    Args:
        table: name to entry; changed in place.
        name: letters, digits, ``_``, ``-`` and ``.``.
        entry: the object with this name.
        what: the kind of entry, for the error, such as ``projector``.
        by: the attribute that identifies an entry; the entry itself if empty.

    Raises:
        RegistrationError: the name is not valid, or another entry has it.

    Example:
        >>> table = {}
        >>> register(table, "mean", min, "pooling")
        >>> register(table, "mean", min, "pooling")
        >>> list(table)
        ['mean']
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RegistrationError(f"{what}: expected a name of letters and digits, got {name!r}")
    if name in table:
        held, own = (getattr(value, by) if by else value for value in (table[name], entry))
        if not same_definition(held, own):
            raise RegistrationError(f"{what} {name!r} is already registered as {_named(held)}; choose another name")
    table[name] = entry


def check_function(what: str, function: object, *arguments: str) -> None:
    """Check that a function can be called with so many arguments; calling it later might end a long run.

    Args:
        what: its place, for the error, such as ``metric 'recall': score``.
        function: the object.
        arguments: the name of each argument.

    Raises:
        RegistrationError: it is no function, or takes other arguments.

    Example:
        >>> check_function("metric 'recall': score", lambda said, question: 1.0, "said", "question")
    """
    expected = f"{what}: expected a function of ({', '.join(arguments)})"
    if not callable(function):
        raise RegistrationError(f"{expected}, got {function!r}")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise RegistrationError(f"{expected}, and {_named(function)} does not take these: {error}") from error
    except ValueError:
        return  # A function in C without a signature.


def same_definition(held: object, own: object) -> bool:
    """Whether two classes or functions have the same module and name, as after a second import or an edit.

    Example:
        >>> same_definition(min, min), same_definition(min, max)
        (True, False)
    """
    return held == own or _definition(held) == _definition(own)


def _definition(entry: object) -> object:
    """Module and name of a class or function; the entry itself if they do not identify it."""
    if isinstance(entry, tuple):
        return tuple(_definition(item) for item in entry)
    owner, name = getattr(entry, "__self__", None), getattr(entry, "__qualname__", "<")
    if "<" in name:  # a lambda, or local to a function that may create several
        return entry
    return getattr(entry, "__module__", None), name, _definition(owner) if isinstance(owner, type) else None


def _named(entry: object) -> str:
    first = entry[0] if isinstance(entry, tuple) else entry
    return str(getattr(first, "__name__", first))
