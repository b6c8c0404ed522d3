"""Caches on this machine with their sizes, and whether the output of a run can be written."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from inlay.recipes.data.rows.remote import url_cache
from inlay.recipes.data.rows.tables.store import cache_root

__all__ = ["Folder", "Output", "caches", "output_folder"]


@dataclass(frozen=True)
class Folder:
    """A cache."""

    path: str
    bytes: int
    """Size of its files; 0 for a folder that does not exist."""


@dataclass(frozen=True)
class Output:
    """The output folder of a run."""

    path: str
    writable: bool
    exists: bool
    free_bytes: int
    """Free space on its disk."""


def caches(features: Path | None) -> dict[str, Folder]:
    """Name -> cache.

    Args:
        features: ``--data.cache_dir``; without one, features are kept in memory alone.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    places = {"Hub": Path(HF_HUB_CACHE), "tables": cache_root(), "fetched media": url_cache()}
    places |= {} if features is None else {"features": features}
    return {name: Folder(str(path), _size(path)) for name, path in places.items()}


def output_folder(path: Path) -> Output:
    """Check a folder that a run would create; nothing is written."""
    place = path.absolute()
    held = next(folder for folder in (place, *place.parents) if folder.exists())
    writable = held.is_dir() and os.access(held, os.W_OK | os.X_OK)
    return Output(str(path), writable, path.exists(), shutil.disk_usage(held).free)


def _size(folder: Path) -> int:
    """Bytes of the files in a folder; links count nothing, since the Hub's cache links to its own files."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                status = os.lstat(os.path.join(place, name))
            except OSError:  # removed meanwhile
                continue
            total += 0 if os.path.islink(os.path.join(place, name)) else status.st_size
    return total
