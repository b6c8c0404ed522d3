"""Checks all media of a data set before the first step: existence, folder, first bytes, header.

Most files are accepted by :mod:`~inlay.recipes.data.rows.checks.media_quick` in some ten microseconds, without threads,
which would wait for each other. Where files come from a slow disk or a network, several are opened at once.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from inlay.adapters.conversation.messages import MadePart, TextPart
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.sources import EncodedMedium
from inlay.recipes.data.rows.checks.media_quick import is_sound_picture
from inlay.recipes.data.rows.media_headers import header_problem
from inlay.recipes.data.rows.offenders import Offender, Offenders, by_cause
from inlay.recipes.data.rows.sample import DataError, Sample, conversations_of
from inlay.recipes.data.rows.tables.store import folder_state

__all__ = ["MediaCheck", "check_media"]

THREADS = 8
"""More than cores, because most of the time is spent waiting for the disk."""
_BATCH = 1024
_RECENT = 50_000
"""The number of checked files that are remembered; a file that is named again later is checked again."""
_SECONDS = 5.0
"""The time between two lines of progress."""
_WAIT = 1e-3
"""Seconds of waiting for a file from which several are opened at once."""
_MISSING = "no such file"
_NUMPY = b"\x93NUMPY"

_File = tuple["Modality | None", str]
"""A medium, or the embedding of a generated medium (modality None): its path, or the digest of its bytes in memory."""


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
    check, problems = MediaCheck(root, links=links), dict[str, Offender]()
    rows = iter(samples)
    while batch := list(islice(rows, _BATCH)):
        check.problems(batch)
        for sample in batch:
            for name, reason in check.problems_of(sample):
                problems.setdefault(name, Offender(sample.origin, f"{sample.origin}: {reason}"))
    if problems:
        found = list(problems.values())
        said = f"{len(found)} of {check.count} media files cannot be used:\n  " + "\n  ".join(by_cause(found))
        if any(item.reason.endswith(_MISSING) for item in found):
            said += f"\nlooked for in the folder {root}: give another with --data.images (`inlay pairs`: --images)"
        raise DataError(said)


class MediaCheck:
    """Checks files, each once if it is named again soon.

    Args:
        root: the folder that must contain all files, after resolving symbolic links.
        links: whether symbolic links may lead out of the folder of the media.
        show: prints the progress over a large set.
    """

    def __init__(self, root: Path, *, links: bool = False, show: Callable[[str], object] | None = None) -> None:
        self.root, self.links, self.show = root, links, show
        self.home = os.path.realpath(root)
        self.rules = (str(root), self.home, links)
        """Plain values that decide which media are valid."""
        self.folders: dict[str, list[int]] = {}
        """Folders of the files, and values that change when a file in them is added, renamed or removed."""
        self.notes: list[tuple[str, str]] = []
        """Notes on valid media, and the place of the row; a caller takes them away."""
        self.count = 0
        """The number of checked files."""
        self._recent: dict[_File, str] = {}
        self._real: dict[str, tuple[str, bool]] = {}
        self._slow, self._told, self._told_count = False, time.monotonic(), 0

    def usable(self, samples: Sequence[Sample], offenders: Offenders) -> list[Sample]:
        """The samples whose media can all be read; the others are added to `offenders`."""
        kept = []
        for start in range(0, len(samples), _BATCH):
            batch = samples[start : start + _BATCH]
            for sample, told in zip(batch, self.problems(batch), strict=True):
                if told:
                    offenders.add(sample.origin, DataError(f"{sample.origin}: {told}"))
                else:
                    kept.append(sample)
        for note in self.notes:
            offenders.note(*note)
        self.notes.clear()
        return kept

    def problems(self, samples: Sequence[Sample]) -> list[str]:
        """Why the media of each sample cannot be used; empty if they can."""
        if len(self._recent) > _RECENT:
            self._recent.clear()
        named = [_files(sample) for sample in samples]
        self._look({file: source for files in named for file, source in files.items()})
        gifs = {
            file
            for files in named
            for file in files
            if file[1][-4:].lower() == ".gif" and file[0] == "image" and not self._recent[file]
        }
        if gifs:
            self.notes += [
                ("have a GIF as their picture: its first frame is read", sample.origin)
                for sample, files in zip(samples, named, strict=True)
                if not gifs.isdisjoint(files)
            ]
        new = self.count > self._told_count
        if self.show is not None and new and time.monotonic() - self._told > _SECONDS:
            self._told, self._told_count = time.monotonic(), self.count
            self.show(f"checked {self.count:,} media files in {self.root}")
        if not any(self._recent[file] for files in named for file in files):
            return [""] * len(named)
        return [
            "; ".join(_told(source, told) for file, source in files.items() if (told := self._recent[file]))
            for files in named
        ]

    def problems_of(self, sample: Sample) -> list[tuple[str, str]]:
        """The media of a sample that cannot be used, and why; only right after :meth:`problems`."""
        return [
            (file[1], _told(source, told)) for file, source in _files(sample).items() if (told := self._recent[file])
        ]

    def _look(self, named: Mapping[_File, Path | EncodedMedium]) -> None:
        new = {file: source for file, source in named.items() if file not in self._recent}
        self.count += len(new)
        began, busy = time.perf_counter(), time.thread_time()
        if self._slow:
            with ThreadPoolExecutor(THREADS) as threads:
                self._recent.update(zip(new, threads.map(self._problem, new, new.values()), strict=True))
            return
        self._recent.update((file, self._problem(file, source)) for file, source in new.items())
        waited = time.perf_counter() - began - (time.thread_time() - busy)
        self._slow = waited > _WAIT * max(64, len(new))

    def _problem(self, file: _File, source: Path | EncodedMedium) -> str:
        """Why a file cannot be used. The real path of a folder is resolved once, of a file only if it is a link."""
        modality, path = file
        if isinstance(source, EncodedMedium):
            return "" if modality is None else header_problem(modality, source)
        parent, _, name = path.rpartition("/")
        if parent not in self._real:
            self.folders[parent] = folder_state(parent)
            real = os.path.realpath(parent)
            self._real[parent] = real, _inside(self.home, real)
        real, inside = self._real[parent]
        if modality == "image" and (inside or self.links) and is_sound_picture(f"{real}/{name}"):
            return ""
        return self._careful(modality, source, os.path.join(real, name))

    def _careful(self, modality: Modality | None, file: Path, real: str) -> str:
        try:
            status = os.lstat(real)
            if stat.S_ISLNK(status.st_mode):
                real = os.path.realpath(real)
                self.folders[os.path.dirname(real)] = folder_state(os.path.dirname(real))
                status = os.stat(real)
        except (OSError, ValueError):
            return _MISSING
        if modality is not None and not self.links and not _inside(self.home, real):
            return (
                f"lies outside of the folder {self.home}; --data.links true allows paths and links that lead out of it"
            )
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


def _inside(home: str, real: str) -> bool:
    return os.path.commonpath([home, real]) == home


def _told(source: Path | EncodedMedium, reason: str) -> str:
    """The reason with the path; a medium in memory is identified by its row."""
    return f"{source}: {reason}" if isinstance(source, Path) else reason


def _files(sample: Sample) -> dict[_File, Path | EncodedMedium]:
    """The encoded input media, and the files of the embeddings of generated media."""
    found: dict[_File, Path | EncodedMedium] = {}
    for messages in conversations_of(sample):
        for message in messages:
            for part in message.content:
                if isinstance(part, TextPart):
                    continue
                if isinstance(part, MadePart):
                    if part.embedding is not None:
                        found[None, str(part.embedding)] = part.embedding
                elif isinstance(part.source, (Path, EncodedMedium)):
                    found[part.modality, str(part.source)] = part.source
    return found
