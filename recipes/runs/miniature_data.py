"""The miniature's data in a run folder: drawn where a run names no files, and found again by later commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from inlay.recipes.miniature.datasets.media import build_media
from inlay.recipes.miniature.datasets.pictures import build
from inlay.recipes.settings.recipe import World
from inlay.recipes.settings.run import DataSettings

__all__ = ["draw_data", "own_data"]


def own_data(folder: Path) -> DataSettings | None:
    """The miniature's files in the data folder of a run, whichever world they are of; None where there are none."""
    for chosen in _OWN.values():
        files = chosen(folder)
        if files["test"].exists():
            return DataSettings(**files)
    return None


def draw_data(
    data: DataSettings, folder: Path, seed: int, world: World, show: Callable[[str], object] | None = None
) -> DataSettings:
    """The settings with the miniature's files, which are drawn unless they are there already.

    Args:
        data: without a training file.
        folder: for the files.
        seed: of the data.
        world: which of the miniature's data.
        show: takes a line before the data are drawn.

    Raises:
        SettingsError: files are named that go with a training file.
    """
    data.check_drawn()
    files = _OWN[world](folder)
    if not files["test"].exists():
        if show is not None:
            show(f"drawing the embedded world into {folder}")
        _BUILDERS[world](folder, seed)
    return replace(data, **files)


def _pictures(folder: Path) -> dict[str, Any]:
    files = {name: folder / f"{name}.json" for name in ("align", "train", "test", "align_test")}
    return {**files, "images": folder / "images"}


def _senses(folder: Path) -> dict[str, Any]:
    return {
        "align": folder / "pairs.json",
        "train": folder / "questions.json",
        "mix": tuple(folder / f"{name}.json" for name in ("t2m", "mosit", "modaverse")),
        "test": folder / "questions_test.json",
        "align_test": folder / "pairs_test.json",
        "make_test": tuple(folder / f"{name}_test.json" for name in ("t2m", "mosit")),
        "images": folder / "media",
    }


_OWN: dict[World, Callable[[Path], dict[str, Any]]] = {"pictures": _pictures, "senses": _senses}
_BUILDERS: dict[World, Callable[[Path, int], None]] = {"pictures": build, "senses": build_media}
