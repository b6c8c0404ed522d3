"""The data files of a run on data of the user's own, found again from its ``config.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from inlay.recipes.runs.backbone import config_of_bundle, found_again
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.plain_yaml import parse_yaml
from inlay.recipes.settings.run import DataSettings

__all__ = ["recorded_data"]

_FILES = {
    "train": ("train", "annotations", "images"),
    "test": ("train", "test", "test_annotations", "images"),
}


def recorded_data(bundle: Path, part: Literal["train", "test"] = "test") -> DataSettings | None:
    """The data settings of the run that a bundle belongs to, with paths that exist.

    Args:
        bundle: bundle or run folder.
        part: the training files, or the held-out files beside them.

    Returns:
        None for a bundle without a run, and for a run on the miniature's data or without a file of this part.

    Raises:
        SettingsError: the run's file or one that goes with it does not exist any more.
    """
    config = config_of_bundle(bundle)
    if config is None:
        return None
    try:
        held = parse_yaml(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not the settings of a run
        return None
    named = held.get("data") if isinstance(held, dict) else None
    if not isinstance(named, dict) or not named.get("train") or not named.get(part):
        return None
    options: dict[str, Any] = {
        name: _existing(str(named[name]), config, name, part) for name in _FILES[part] if named.get(name) is not None
    }
    options |= {name: named[name] for name in ("answers", "pattern", "links") if named.get(name) is not None}
    if part == "test":
        paths = named.get("make_test") or ()
        options["make_test"] = tuple(_existing(str(path), config, "make_test", part) for path in paths)
    return DataSettings(**options)


def _existing(source: str, config: Path, field: str, part: str) -> Path:
    found = found_again(source, config)
    if found is None:
        option = "--data.test" if part == "test" else "--data"
        raise SettingsError(f"{config}: data.{field} of this run is {source}, which does not exist; give {option}")
    return found
