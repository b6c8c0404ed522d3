"""The frozen models that a command loads for a run: named by the user, or by the run's settings.

A bundle names each model by its Hub id, or by the name of its folder without the path, since a path is useless on
another machine. The settings of a run (``config.yaml``) have the path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.default_models import MINIATURE, SAME
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.plain_yaml import parse_yaml
from inlay.recipes.settings.run import BackboneSettings

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter

__all__ = ["backbone_settings", "config_of_bundle", "found_again"]

MODELS = ("llm", "image", "audio", "video", "generate_image", "generate_audio", "generate_video", "prompt", "qformer")
"""Fields of the settings that name a frozen model."""


def backbone_settings(bundle: str, adapter: Adapter, given: Mapping[str, Any]) -> BackboneSettings:
    """The settings from which a command loads the frozen models.

    Args:
        bundle: the user's argument: a run folder, a bundle, or a repository on the Hub.
        adapter: the adapter of the bundle.
        given: fields of :class:`BackboneSettings` from the command line.

    Raises:
        SettingsError: the run was trained on a folder that does not exist, and the user names no other.
    """
    settings = BackboneSettings(**given)
    config = config_of_bundle(Path(bundle))
    if config is None:
        return settings
    on_hub = {port.source for port in adapter.interface.values()}
    found: dict[str, Any] = {}
    for field, source in _models(config).items():
        if getattr(settings, field) is not None or source.startswith(MINIATURE) or source == SAME:
            continue
        if (folder := found_again(source, config)) is not None:
            found[field] = str(folder)
        elif field != "qformer" and source not in on_hub:
            raise SettingsError(
                f"{config}: this run was trained on {source}, which does not exist; name the model: --backbone.{field}"
            )
    return replace(settings, **found) if found else settings


def config_of_bundle(bundle: Path) -> Path | None:
    """The settings of the run that a bundle belongs to."""
    folders = (bundle, bundle.parent) if bundle.name == RunFolder(bundle).bundle.name else (bundle,)
    return next((path for folder in folders if (path := RunFolder(folder).config).is_file()), None)


def _models(config: Path) -> dict[str, str]:
    """Field -> the model that the run named."""
    try:
        held = parse_yaml(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not the settings of a run
        return {}
    named = held.get("backbone") if isinstance(held, dict) else None
    if not isinstance(named, dict):
        return {}
    return {field: source for field in MODELS if isinstance(source := named.get(field), str)}


def found_again(source: str, config: Path) -> Path | None:
    """The existing file or folder of a path; it may be relative to the unknown working directory of the run."""
    places = (Path(), *config.absolute().parents[1:])
    return next((place / source for place in places if (place / source).exists()), None)
