"""The files in a run folder that were written by a run; only these are ever replaced."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from inlay.hub.format.files import KNOWN_NAMES
from inlay.hub.safety.text import shown
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.plain_yaml import parse_yaml

__all__ = [
    "DIGESTS",
    "HELD_OUT",
    "INVALID",
    "MARKER",
    "PLOT",
    "check_replaceable",
    "entries_of",
    "remove_run_files",
    "write_whole",
]

MARKER = ".inlay-run"
"""The first file that every run writes; it marks a run folder."""
PLOT = "plot.png"
"""The output of ``inlay plot``; a run neither writes nor replaces it."""
PLOTS = (PLOT, "picture.png")
"""The previous name of that file."""
INVALID = "invalid.jsonl"
"""The list of invalid rows, written before a run begins, and kept if the run cannot begin."""

HELD_OUT = "held_out.json"
"""Digests of the rows that ``--data.test_size`` held out."""
DIGESTS = "digests.json"
"""Digests of data and frozen models, which are compared when a run is resumed."""

_WHOLE = (MARKER, "config.yaml", "metrics.json", DIGESTS, HELD_OUT)
_FILES = (*_WHOLE, *(f"{name}.part" for name in _WHOLE), "answers.jsonl", "made.jsonl")
_FOLDERS = ("bundle", "checkpoints", "logs", "data")
_ENTRIES = frozenset({*_FILES, *_FOLDERS})
_EVENTS = r"events\.out\.tfevents\.[\w.\-]+"
_DRAWN = r"(?:train|held_out)_(?:scene|digit)_\d{5}\.(?:png|jpg|webp)"
_MEDIA = r"(?:train|held_out)_(?:image|audio|video)_\d{5}\.(?:png|wav|gif)"
_WRITTEN = re.compile(
    "|".join(
        (
            *map(re.escape, _FILES),
            *(re.escape(f"bundle/{name}") for name in KNOWN_NAMES),
            r"checkpoints/[^/]+/last\.ckpt(?:\.part|\.previous)?",
            rf"logs/[^/]+/version_\d+/(?:metrics\.csv|hparams\.yaml|{_EVENTS})",
            r"data/README\.md",
            r"data/(?:align|train|pairs|questions|t2m|mosit|modaverse|align_test|test)(?:_test)?\.json",
            rf"data/images/{_DRAWN}",
            rf"data/media/{_MEDIA}",
        )
    )
)
"""Paths inside a run folder that a run writes."""


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically.

    Raises:
        OSError: no space on the disk or no permission; an existing file is unchanged.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def entries_of(root: Path) -> list[str]:
    """The entries of a folder that a run has written, the settings last: without them a run cannot be resumed."""
    names = {path.name for path in root.iterdir()} & _ENTRIES
    if "data" in names and not _draws_its_data(root):
        names.remove("data")
    return sorted(names, key=lambda name: (name == "config.yaml", name))


def check_replaceable(root: Path) -> None:
    """Check that a folder belongs to a run, and that its run files and folders contain nothing else.

    A folder without the marker, of an earlier version of inlay, is accepted only if a run writes every file in it.

    Raises:
        SettingsError: there are files that no run has written (named); nothing was changed.
    """
    if not root.is_dir():
        raise SettingsError(f"{root}: expected a run folder to replace, got a file; choose another --output")
    marked = (root / MARKER).is_file()
    ours = set(entries_of(root))
    foreign = [
        name
        for name in _files(root)
        if (top := name.partition("/")[0]) not in (*PLOTS, INVALID)
        and (top in ours or not marked)
        and not (top in ours and _WRITTEN.fullmatch(name) and not (root / name).is_symlink())
    ]
    if not marked and "config.yaml" not in ours:
        why = "it is not a run folder: it has no config.yaml"
    elif not marked and not ours & {"bundle", "checkpoints", "logs", "metrics.json", "data"}:
        why = "it is not a run folder: it has a config.yaml, but no other file of a run"
    elif foreign:
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        why = f"it contains files that no run has written: {', '.join(map(shown, foreign[:5]))}{more}"
    else:
        return
    raise SettingsError(
        f"{root}: --overwrite replaces only files of an earlier run, and {why}; nothing was changed. Choose another "
        "--output, or move these files away"
    )


def remove_run_files(folder: Path) -> None:
    """Remove the files that a run has written, and the folders that become empty; all others are kept."""
    for name in entries_of(folder):
        for path in [folder / name] if (folder / name).is_file() else sorted((folder / name).rglob("*"), reverse=True):
            if path.is_symlink() or not path.is_dir():
                if _WRITTEN.fullmatch(path.relative_to(folder).as_posix()):
                    path.unlink()
            elif not any(path.iterdir()):
                path.rmdir()
        if (folder / name).is_dir() and not any((folder / name).iterdir()):
            (folder / name).rmdir()
    if not any(folder.iterdir()):
        folder.rmdir()


def _files(root: Path) -> Iterator[str]:
    """All files, and links to folders, as relative paths with ``/``."""
    for place, folders, files in os.walk(root):
        inner = Path(place).relative_to(root)
        linked = [name for name in folders if (Path(place) / name).is_symlink()]
        yield from ((inner / name).as_posix() for name in sorted((*files, *linked)))


def _draws_its_data(root: Path) -> bool:
    """Whether ``data`` was written by the run: only runs on the miniature's data write this folder."""
    try:
        settings: Any = parse_yaml((root / "config.yaml").read_text(encoding="utf-8"))
        return settings.get("data", {}).get("train") is None
    except (OSError, ValueError, AttributeError):
        return False
