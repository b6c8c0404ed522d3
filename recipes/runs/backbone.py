"""The sources of the frozen models for a run: given by the user, or by the run's settings.

A bundle names each model by its Hub id, or by the name of its folder without the path, since a path is useless on
another machine. The settings of a run (``config.yaml``) have the path.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.default_models import MINIATURE, SAME
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.plain_yaml import parse_yaml
from inlay.recipes.settings.run import IDENTIFIED, BackboneSettings

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter

__all__ = ["backbone_settings", "config_of_bundle", "found_again", "local_models"]

MODELS = ("llm", "image", "audio", "video", "generate_image", "generate_audio", "generate_video", "prompt", "qformer")
"""Fields of the settings that name a frozen model."""


def backbone_settings(bundle: str | Path, adapter: Adapter, settings: BackboneSettings) -> BackboneSettings:
    """The settings from which a command loads the frozen models.

    Args:
        bundle: the user's argument: a run folder, a bundle, or a repository on the Hub.
        adapter: the adapter of the bundle.
        settings: the user's settings; a model that is not set there is that of the run, or the one that the bundle
            names.

    Raises:
        SettingsError: the run was trained on a folder that does not exist, and the user names no other.
    """
    config = config_of_bundle(Path(bundle))
    if config is None:
        return settings
    on_hub = {port.source for port in adapter.interface.values()}
    found: dict[str, Any] = {}
    models = _models(config)
    for field in MODELS:
        source = models.get(field)
        if getattr(settings, field) is not None or source is None or source == SAME or source.startswith(MINIATURE):
            continue
        name = models.get(f"{field}_id")
        if (folder := found_again(source, config)) is not None:
            found |= {field: str(folder)} | ({f"{field}_id": name} if name else {})
        elif field != "qformer" and not on_hub & {source, name}:
            raise SettingsError(
                f"{config}: this run was trained on {source}, which does not exist; name the model: --backbone.{field}"
            )
    return replace(settings, **found) if found else settings


def local_models(bundle: str | Path) -> dict[str, Path]:
    """Field -> folder of a frozen model that the run of a bundle was trained on, where it still exists."""
    config = config_of_bundle(Path(bundle))
    models = {} if config is None else _models(config)
    found = {field: found_again(models[field], config) for field in MODELS if config is not None and field in models}
    return {field: folder for field, folder in found.items() if folder is not None}


def config_of_bundle(bundle: Path) -> Path | None:
    """The settings of the run that a bundle belongs to."""
    bundle = bundle.absolute()  # so that the current folder has a name too
    folders = (bundle, bundle.parent) if bundle.name == RunFolder(bundle).bundle.name else (bundle,)
    return next((path for folder in folders if (path := RunFolder(folder).config).is_file()), None)


def _models(config: Path) -> dict[str, str]:
    """Field -> the model in the run's settings, and ``FIELD_id`` -> its Hub id."""
    try:
        held = parse_yaml(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not the settings of a run
        return {}
    named = held.get("backbone") if isinstance(held, dict) else None
    if not isinstance(named, dict):
        return {}
    fields = (*MODELS, *(f"{field}_id" for field in IDENTIFIED))
    return {field: source for field in fields if isinstance(source := named.get(field), str)}


def found_again(source: str, config: Path) -> Path | None:
    """The existing file or folder for a path, which may be relative to the unknown working directory of the run."""
    places = (Path(), *config.absolute().parents[1:])
    return next((place / source for place in places if (place / source).exists()), None)
