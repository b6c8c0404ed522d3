"""The base class of all errors that inlay raises for bad input.

Every error that a user can cause derives from :class:`InlayError`, so that a program can catch one class and the
command line can turn it into a short message and exit status 2.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["BundleError", "HubError", "HubProblem", "InlayError"]

HubProblem: TypeAlias = Literal[
    "address",
    "missing",
    "revision",
    "gated",
    "token",
    "forbidden",
    "offline",
    "network",
    "server",
    "space",
    "foreign",
    "conflict",
    "secret",
    "card",
]
"""The kind of problem, for programs; the message is for users."""


class InlayError(Exception):
    """Base class of errors whose text gives the expected value, the actual one, and a fix."""


class BundleError(InlayError):
    """A bundle on disk is damaged, hostile, too new, or cannot be written.

    Args:
        file: name of the file inside the bundle (or the folder) that is wrong.
        reason: what was expected, what came, and how to fix it.
        field: the field or tensor inside that file, if there is one.

    Example:
        >>> str(BundleError("inlay.json", "expected an object, got a list", field="parts"))
        'inlay.json: parts: expected an object, got a list'
    """

    def __init__(self, file: str, reason: str, *, field: str | None = None) -> None:
        self.file, self.reason, self.field = file, reason, field
        super().__init__(": ".join(part for part in (file, field, reason) if part))


class HubError(InlayError):
    """A bundle cannot be downloaded from a hub or sent to one.

    Args:
        where: the repository, with its revision unless that is ``main``.
        reason: what was expected, what came, and how to fix it. Never contains a token.
        problem: the kind of problem, see :data:`Problem`.

    Example:
        >>> str(HubError("me/llava", "no such repository", "missing"))
        'me/llava: no such repository'
    """

    def __init__(self, where: str, reason: str, problem: HubProblem) -> None:
        self.where, self.reason, self.problem = where, reason, problem
        super().__init__(f"{where}: {reason}")
