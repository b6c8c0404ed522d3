"""Checks all media of a data set before the first step, in threads: existence, folder, first bytes, header."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, made_of, media_of
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.sources import EncodedMedium
from inlay.recipes.data.rows.media_headers import header_problem
from inlay.recipes.data.rows.offenders import SHOWN, Offenders
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["MediaCheck", "check_media"]

THREADS = 8
"""More than cores, because most of the time is spent waiting for the disk."""
_BATCH = 256
_SECONDS = 5.0
"""The time between two lines of progress."""
_NUMPY = b"\x93NUMPY"
_ENCODED = (Path, EncodedMedium)


def check_media(samples: Iterable[Sample], root: Path, *, links: bool = False) -> None:
    """Check that every medium is a readable file in `root`, as far as its header shows.

    Args:
        samples: media in memory are skipped.
        root: the folder that must contain all files, after resolving symbolic links.
        links: whether symbolic links may lead out of the folder.

    Raises:
        DataError: with the first samples whose file is missing, empty, not a regular file, of another type, or outside
            the folder.
    """
    check, rows = MediaCheck(links=links), list(samples)
    check.look(rows, root)
    problems = {path: (sample, reason) for sample in rows for path, reason in check.problems_of(sample)}
    if problems:
        first = [f"{sample.origin}: {_told(bad, reason)}" for bad, (sample, reason) in problems.items()][:SHOWN]
        raise DataError(f"{len(problems)} of {len(check.seen)} media files cannot be used:\n  " + "\n  ".join(first))


class MediaCheck:
    """Checks each file once, however many samples and data files name it.

    Args:
        links: whether symbolic links may lead out of the folder of the media.
        show: prints the progress over a large set.
    """

    def __init__(self, *, links: bool = False, show: Callable[[str], object] | None = None) -> None:
        self.links, self.show = links, show
        self.seen: dict[tuple[Modality | None, Any], str] = {}

    def usable(self, samples: Sequence[Sample], root: Path, offenders: Offenders) -> list[Sample]:
        """The samples whose media can all be read; the others are added to `offenders`."""
        self.look(samples, root)
        kept = []
        for sample in samples:
            if bad := self.problems_of(sample):
                told = "; ".join(_told(source, reason) for source, reason in bad)
                offenders.add(sample.origin, DataError(f"{sample.origin}: {told}"))
            else:
                kept.append(sample)
                if any(kind == "image" and str(source)[-4:].lower() == ".gif" for kind, source in _files(sample)):
                    offenders.note("have a GIF as their picture: its first frame is read", sample.origin)
        return kept

    def problems_of(self, sample: Sample) -> list[tuple[Any, str]]:
        """The media of a sample that cannot be used, and why."""
        found = [(path, self.seen.get((kind, _key(path)), "")) for kind, path in _files(sample)]
        return [(path, reason) for path, reason in found if reason]

    def look(self, samples: Iterable[Sample], root: Path) -> None:
        """Check all files that were not checked before."""
        found = {(kind, _key(source)): source for sample in samples for kind, source in _files(sample)}
        new = [(key, source) for key, source in found.items() if key not in self.seen]
        home, folders = os.path.realpath(root), dict[str, str]()

        def problem(entry: tuple[tuple[Modality | None, Any], Any]) -> str:
            (kind, _), source = entry
            if isinstance(source, EncodedMedium):
                return "" if kind is None else header_problem(kind, source)
            return _problem(kind, source, home, folders, links=self.links)

        told = time.monotonic()
        with ThreadPoolExecutor(THREADS) as threads:
            for start in range(0, len(new), _BATCH):
                part = new[start : start + _BATCH]
                self.seen.update(zip([key for key, _ in part], threads.map(problem, part), strict=True))
                if self.show is not None and time.monotonic() - told > _SECONDS:
                    told = time.monotonic()
                    self.show(f"checked {start + len(part):,} of {len(new):,} media files in {root}")


def _told(source: Path | EncodedMedium, reason: str) -> str:
    """The reason with the path; a medium in memory is identified by its row."""
    return f"{source}: {reason}" if isinstance(source, Path) else reason


def _key(source: Path | EncodedMedium) -> Path | str:
    """What identifies a medium, without keeping its bytes in memory."""
    return source if isinstance(source, Path) else str(source)


def _files(sample: Sample) -> list[tuple[Modality | None, Any]]:
    """The encoded input media, and the files of the embeddings (modality None) of generated media."""
    shown: list[MediaPart] = [part for part in media_of(sample.messages) if isinstance(part.source, _ENCODED)]
    embedded = [part.embedding for part in made_of(sample.messages) if part.embedding is not None]
    return [*((part.modality, part.source) for part in shown), *((None, path) for path in embedded)]


def _problem(modality: Modality | None, file: Path, home: str, folders: dict[str, str], *, links: bool) -> str:
    """Why a file cannot be used. The real path of a folder is resolved once, that of a file only if it is a link."""
    parent, name = os.path.split(file)
    if parent not in folders:
        folders[parent] = os.path.realpath(parent)
    real = os.path.join(folders[parent], name)
    try:
        status = os.lstat(real)
        if stat.S_ISLNK(status.st_mode):
            real = os.path.realpath(real)
            status = os.stat(real)
    except (OSError, ValueError):
        return "no such file"
    if modality is not None and not links and os.path.commonpath([home, real]) != home:
        return f"lies outside of the folder {home}; --data.links true allows paths and links that lead out of it"
    if not stat.S_ISREG(status.st_mode):
        return "is not a file"
    if not status.st_size:
        return "the file is empty"
    if modality is not None:
        return header_problem(modality, file)
    try:
        with file.open("rb") as opened:
            return "" if opened.read(len(_NUMPY)) == _NUMPY else "expected an .npy file"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
