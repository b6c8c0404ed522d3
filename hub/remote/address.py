"""The address of a bundle: a folder, a run folder, or a repository on a hub.

A path that exists is that path. ``hf://owner/name@revision`` is a repository, and so is ``owner/name`` unless a folder
``owner`` exists here: ``runs/lava`` beside a folder ``runs`` is a misspelt path, and no request is sent for it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from inlay.hub.errors import HubError
from inlay.hub.safety.text import shown

__all__ = ["Repository", "check_revision", "locate", "or_no_folder"]

_SCHEME = "hf://"
_OWNER = r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"{_OWNER}/{_OWNER}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-/+]{0,254}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository on a hub, at a revision."""

    repo_id: str
    """``owner/name``."""
    revision: str = "main"
    """A branch, a tag, ``refs/pr/<number>`` or a commit."""

    def __post_init__(self) -> None:
        if not _REPO.fullmatch(self.repo_id) or "--" in self.repo_id or ".." in self.repo_id:
            raise HubError(shown(self.repo_id), "expected a repository as owner/name", "address")
        check_revision(self.revision)

    def __str__(self) -> str:
        return self.repo_id if self.revision == "main" else f"{self.repo_id}@{self.revision}"


def check_revision(revision: str) -> str:
    """Return a revision that is a valid branch, tag or commit name, and not a path out of a folder.

    Raises:
        HubError: it is not valid.
    """
    if not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision or revision.endswith("/"):
        reason = "expected a branch, a tag or a commit (letters, digits, '_', '.', '-', '/')"
        raise HubError(shown(revision), reason, "address")
    return revision


def locate(source: str | os.PathLike[str], revision: str | None = None) -> Repository | Path:
    """Decide whether an address is a folder or a repository; no file is opened and no request is sent.

    Everything is a folder that exists, starts with ``/``, ``./``, ``../`` or ``~``, ends with ``/``, has another number
    of slashes than one, or whose first part is an existing folder.

    Args:
        source: a path, ``owner/name`` or ``hf://owner/name``, the last two also with ``@revision``.
        revision: the revision of a repository; takes precedence over the one in ``source``.

    Raises:
        HubError: ``hf://`` without ``owner/name``, an invalid revision, or a folder with a revision.

    Example:
        >>> str(locate("hf://me/llava@v1")), str(locate("someone/llava", revision="main"))
        ('me/llava@v1', 'someone/llava')
    """
    text = os.fspath(source)
    named = text.startswith(_SCHEME)
    if not named and (not isinstance(source, str) or _exists(text)):
        return _folder(source, revision)
    repo_id, _, own = text.removeprefix(_SCHEME).partition("@")
    parts = repo_id.split("/")
    if named and len(parts) == 3 and parts[0] == "models":
        repo_id = "/".join(parts[1:])
    if not named and (not _REPO.fullmatch(repo_id) or _exists(parts[0])):
        return _folder(source, revision)
    return Repository(repo_id=repo_id, revision=revision or own or "main")


def or_no_folder(error: HubError, source: str | os.PathLike[str]) -> HubError:
    """The error about a repository, which also says that there is no such folder: a misspelt folder looks like one.

    Args:
        error: of the hub.
        source: as the user wrote it; ``hf://`` cannot be meant as a folder.

    Example:
        >>> str(or_no_folder(HubError("me/x", "no such repository", "missing"), "me/x"))
        'me/x: no such repository; and there is no folder of this name'
    """
    if os.fspath(source).startswith(_SCHEME) or error.problem not in ("missing", "token", "offline", "network"):
        return error
    return HubError(error.where, f"{error.reason}; and there is no folder of this name", error.problem)


def _folder(source: str | os.PathLike[str], revision: str | None) -> Path:
    if revision is not None:
        reason = f"a folder has no revision, got {shown(revision)}; write a repository as hf://owner/name"
        raise HubError(os.fspath(source), reason, "address")
    return Path(source)


def _exists(text: str) -> bool:
    try:
        return os.path.lexists(text)
    except ValueError:  # a zero byte
        return False
