"""The run that ``--overwrite`` replaces is set aside until the new one has finished, and is put back if that fails.

Its files are renamed into a folder inside the run folder, where a rename is always possible. The settings
(``config.yaml``) are moved out last and moved back first, so that after a crash it is known which renames were done.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from inlay.recipes.runs.files import DIGESTS, MARKER, entries_of, remove_run_files

__all__ = ["BEGUN", "EARLIER", "give_back", "recover", "set_aside", "settle_earlier"]

EARLIER = ".earlier"
"""Folder of the earlier run, inside the run folder."""
UNFINISHED = "unfinished"
"""Folder of a run that has failed after it began to train."""
_CONFIG = "config.yaml"
BEGUN = frozenset({MARKER, _CONFIG, DIGESTS, "data"})
"""The files that a run writes before it trains."""


def set_aside(root: Path) -> None:
    """Move the files of the run in a folder into ``.earlier``."""
    aside = root / EARLIER
    aside.mkdir()
    for name in entries_of(root):
        (root / name).rename(aside / name)


def give_back(root: Path, show: Callable[[str], None]) -> None:
    """Put the earlier run back; a new one that has trained already is kept in a folder of its own.

    Args:
        root: the run folder.
        show: prints where both runs are.
    """
    aside = root / EARLIER
    if not aside.is_dir():
        return
    if (aside / _CONFIG).exists():  # All of it was moved, so what is here is the new run's.
        _clear(root, show)
    for path in sorted(aside.iterdir(), key=lambda path: path.name != _CONFIG):
        if os.path.lexists(root / path.name):  # with files in it that no run has written
            place = _free(root)
            place.mkdir()
            (root / path.name).rename(place / path.name)
        path.rename(root / path.name)
    aside.rmdir()
    show(f"the earlier run is back in {root}")


def recover(root: Path, show: Callable[[str], None]) -> None:
    """Restore the folder after a process was killed while it replaced a run."""
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
    """Move the new run out of the way, or remove it if it has not trained yet."""
    names = entries_of(root)
    if set(names) <= BEGUN:
        remove_run_files(root)
        return
    place = _free(root)
    place.mkdir()
    for name in names:
        (root / name).rename(place / name)
    how = f"inlay train {place / _CONFIG} --output={place} --resume=true"
    show(f"the new run did not finish; what it has trained is in {place}, and goes on with: {how}")


def _free(root: Path) -> Path:
    number = 1
    while (place := root / (UNFINISHED if number == 1 else f"{UNFINISHED}-{number}")).exists():
        number += 1
    return place
