"""Setting aside the run that ``--overwrite`` replaces until the new run has finished; restored if that one fails.

Its files are renamed into a folder inside the run folder, where a rename is always possible. The settings
(``config.yaml``) are moved away last and back first, so that the completed renames can be determined after a crash.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from inlay.recipes.runs.files import DIGESTS, HELD_OUT, MARKER, entries_of, remove_run_files

__all__ = ["BEGUN", "EARLIER", "give_back", "recover", "set_aside", "settle_earlier"]

EARLIER = ".earlier"
"""Folder of the earlier run, inside the run folder."""
UNFINISHED = "unfinished"
"""Folder of a run that failed after its training had begun."""
_CONFIG = "config.yaml"
BEGUN = frozenset({MARKER, _CONFIG, DIGESTS, HELD_OUT, "data"})
"""The files of a run that has not trained yet."""


def set_aside(root: Path) -> None:
    """Move the files of the run in a folder into ``.earlier``."""
    aside = root / EARLIER
    aside.mkdir()
    for name in entries_of(root):
        (root / name).rename(aside / name)


def give_back(root: Path, show: Callable[[str], None]) -> None:
    """Restore the earlier run; a new run that has trained already is kept in another folder.

    Args:
        root: the run folder.
        show: prints the folders of both runs.
    """
    aside = root / EARLIER
    if not aside.is_dir():
        return
    if (aside / _CONFIG).exists():  # all of it was moved, so the other files belong to the new run
        _clear(root, show)
    for path in sorted(aside.iterdir(), key=lambda path: path.name != _CONFIG):
        if os.path.lexists(root / path.name):  # a folder with files that no run has written
            place = _free(root)
            place.mkdir()
            (root / path.name).rename(place / path.name)
        path.rename(root / path.name)
    aside.rmdir()
    show(f"the earlier run is back in {root}")


def recover(root: Path, show: Callable[[str], None]) -> None:
    """Restore the folder after a process was killed while replacing a run."""
    if (root / EARLIER).is_dir():
        if (root / "metrics.json").exists() and (root / EARLIER / _CONFIG).exists():
            settle_earlier(root)
        else:
            give_back(root, show)


def settle_earlier(root: Path) -> None:
    """Remove the earlier run, once the new one has finished."""
    aside = root / EARLIER
    if aside.is_dir():
        remove_run_files(aside)


def _clear(root: Path, show: Callable[[str], None]) -> None:
    """Move the new run to another folder, or remove it if it has not trained yet."""
    names = entries_of(root)
    if set(names) <= BEGUN:
        remove_run_files(root)
        return
    place = _free(root)
    place.mkdir()
    for name in names:
        (root / name).rename(place / name)
    how = f"inlay train {place / _CONFIG} --output={place} --resume=true"
    show(f"the new run did not finish; its files are in {place}; resume it with: {how}")


def _free(root: Path) -> Path:
    number = 1
    while (place := root / (UNFINISHED if number == 1 else f"{UNFINISHED}-{number}")).exists():
        number += 1
    return place
