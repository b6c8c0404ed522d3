"""The miniature's data in a run folder: generated if a run names no files, and reused by later commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from inlay.recipes.miniature.datasets.media import build_media
from inlay.recipes.miniature.datasets.pictures import build
from inlay.recipes.miniature.judges.captions import caption_is_right
from inlay.recipes.miniature.judges.generated_media import judge_generated
from inlay.recipes.miniature.world.scenes import COLOURS, SHAPES
from inlay.recipes.settings.recipe import World
from inlay.recipes.settings.run import DataSettings

__all__ = ["CAPTION_JUDGE", "MEDIA_JUDGE", "OBJECTS", "draw_data", "own_data"]

CAPTION_JUDGE = caption_is_right
"""Judge of generated captions of the miniature; other data have none."""
MEDIA_JUDGE = judge_generated
"""Judge of media that were generated for captions of the miniature."""
OBJECTS = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
"""The object classes of the miniature, such as ``red star``."""


def own_data(folder: Path) -> DataSettings | None:
    """The miniature's files in the data folder of a run, of either world; None if there are none."""
    for chosen in _OWN.values():
        files = chosen(folder)
        if files["test"].exists():
            return DataSettings(**files)
    return None


def draw_data(
    data: DataSettings, folder: Path, seed: int, world: World, show: Callable[[str], object] | None = None
) -> DataSettings:
    """The settings with the miniature's files, which are generated unless they exist.

    Args:
        data: settings without a training file.
        folder: the folder of the files.
        seed: seed of the data.
        world: pictures, or all modalities.
        show: prints a line before the data are generated.

    Raises:
        SettingsError: the settings name files that require a training file.
    """
    data.check_drawn()
    files = _OWN[world](folder)
    if not files["test"].exists():
        if show is not None:
            show(f"generating the miniature's data in {folder}")
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
