"""The data files of a run on the user's own data, found from its ``config.yaml``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from inlay.recipes.data.held_out_split import rows_again
from inlay.recipes.data.load import load_data
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.rows.tables.names import hub_name
from inlay.recipes.runs.backbone import config_of_bundle, found_again
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.plain_yaml import parse_yaml
from inlay.recipes.settings.run import DataSettings

__all__ = ["recorded_data", "recorded_rows"]

_FILES = {
    "train": ("train", "annotations", "images"),
    "test": ("train", "annotations", "test", "test_annotations", "images"),
}
_PLAIN = (
    *("answers", "pattern", "links", "test_size", "invalid"),
    *("format", "columns", "allow_urls", "downscale"),
)


def recorded_data(bundle: Path, part: Literal["train", "test"] = "test") -> DataSettings | None:
    """The data settings of the run that a bundle belongs to, with paths that exist.

    Args:
        bundle: bundle or run folder.
        part: the training files or the held-out files.

    Returns:
        The settings; None for a bundle without a run, and for a run on the miniature's data or without this part.

    Raises:
        SettingsError: a file of the run no longer exists.
    """
    config = config_of_bundle(bundle)
    if config is None:
        return None
    try:
        held = parse_yaml(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not the settings of a run
        return None
    named = held.get("data") if isinstance(held, dict) else None
    wanted = ("train",) if part == "train" else ("test", "test_size")
    if not isinstance(named, dict) or not named.get("train") or not any(named.get(name) for name in wanted):
        return None
    options: dict[str, Any] = {
        name: _existing(str(named[name]), config, name, part) for name in _FILES[part] if named.get(name) is not None
    }
    plain = _PLAIN if part == "test" else [name for name in _PLAIN if name != "test_size"]
    options |= {name: named[name] for name in plain if named.get(name) is not None}
    if part == "test":
        paths = named.get("make_test") or ()
        options["make_test"] = tuple(_existing(str(path), config, "make_test", part) for path in paths)
    return DataSettings(**options)


def recorded_rows(bundle: Path, data: DataSettings) -> list[Sample]:
    """The training rows that the run held out (``--data.test_size``).

    Args:
        bundle: bundle or run folder.
        data: result of :func:`recorded_data`.

    Raises:
        SettingsError: the run has not recorded their digests.
        DataError: they are no longer in the training file.
    """
    config = config_of_bundle(bundle)
    path = bundle if config is None else RunFolder(config.parent).held_out
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SettingsError(f"{path}: expected the digests of the held-out rows; give --data.test") from None
    return rows_again(load_data(data)["train"], digests)


def _existing(source: str, config: Path, field: str, part: str) -> Path:
    if field != "images" and hub_name(Path(source)) is not None:
        return Path(source)
    found = found_again(source, config)
    if found is None:
        option = "--data.test" if part == "test" else "--data"
        raise SettingsError(f"{config}: data.{field} of this run is {source}, which does not exist; give {option}")
    return found
