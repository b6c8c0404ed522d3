"""Has anything in a model's files changed? Told as git and make tell it: by size, times and inode, without reading.

A file that is written gets a new change time, which no program can set; so a changed file that looks unchanged needs a
clock that was turned back, or a file system that keeps no such time. A file that merely *looks* changed (copied,
touched, moved) costs one loading of the model, after which its bytes decide.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

from inlay.adapters.loading.pretrained import given
from inlay.recipes.cache.store import digest_of

__all__ = ["Files", "files_of"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MOST = 10_000
_SETTLED = 1.0
"""Seconds; a file that was changed within the clock's tick could be changed once more without a trace."""


class Files:
    """The files behind several sources, with whatever else decides what is loaded from them.

    Args:
        sources: what for -> folder, file or Hub id.
        revisions: what for -> commit, branch or tag on the Hub.
        facts: plain values: data type, layer and the like.
    """

    def __init__(
        self, sources: Mapping[str, str | Path], revisions: Mapping[str, str], facts: Mapping[str, Any]
    ) -> None:
        self.sources, self.revisions, self.facts = dict(sources), dict(revisions), dict(facts)

    def digest(self, *, settled: bool = False, **facts: Any) -> str | None:
        """64 hex digits, the same as long as nothing has changed.

        Args:
            settled: only if the last change was long enough ago for the next one to show.
            facts: in the place of those that were given first.

        Returns:
            None where a source cannot be looked at, or has not settled.
        """
        found = {name: files_of(source, self.revisions.get(name)) for name, source in self.sources.items()}
        if any(files is None for files in found.values()):
            return None
        newest = max((file[3] for files in found.values() for file in files or ()), default=0)
        if settled and time.time() - newest / 1e9 < _SETTLED:
            return None
        return digest_of({"files": found, "facts": self.facts | facts})


def files_of(source: str | Path, revision: str | None = None) -> list[tuple[str, int, int, int, int]] | None:
    """Path, size, time of writing, time of change (nanoseconds) and inode of every file of a model.

    Args:
        source: folder, file or Hub id; of the last, the cached copy of the commit that the Hub or its cache names.
        revision: commit, branch or tag.

    Returns:
        None where there is nothing, or too much, to look at.
    """
    place = Path(source)
    if not place.exists():
        found = _snapshot(str(source), revision)
        if found is None:
            return None
        place = found
    files: list[tuple[str, int, int, int, int]] = []
    try:
        for path in [place] if place.is_file() else _walk(place):
            if len(files) == _MOST:
                return None
            stat = path.stat()
            files.append((str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    except OSError:
        return None
    return sorted(files)


def _walk(folder: Path) -> list[Path]:
    return [Path(root) / name for root, _, names in os.walk(folder) for name in names]


def _snapshot(source: str, revision: str | None) -> Path | None:
    """Folder of a commit in the Hub's cache."""
    try:
        config = cached_file(source, "config.json", **given(revision=revision))
    except (OSError, ValueError):
        return None  # said by what loads it, in its own words
    folder = Path(str(config)).parent
    return folder if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name) else None
