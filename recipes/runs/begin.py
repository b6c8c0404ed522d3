"""The bundle that a run continues (``--begin``): its manifest and checks, read without torch."""

from __future__ import annotations

from pathlib import Path

from inlay.hub.errors import BundleError
from inlay.hub.format.files import bundle_folder, read_manifest
from inlay.hub.format.manifest import Manifest
from inlay.hub.safety.safe_read import OpenFolder
from inlay.recipes.settings.default_models import MINIATURE
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.recipe import Recipe

__all__ = ["check_begin", "manifest_of", "on_hub", "on_miniature"]


def on_hub(begin: Path) -> bool:
    """Whether a source is the name of a repository, ``owner/name``, and not a folder."""
    return not begin.exists() and not begin.is_absolute() and len(begin.parts) == 2


def manifest_of(begin: Path) -> Manifest | None:
    """The manifest of a bundle, or of the bundle of a run; None for a repository on the Hub.

    Raises:
        BundleError: there is no bundle, or its manifest is damaged.
    """
    if on_hub(begin):
        return None
    with OpenFolder(bundle_folder(begin)) as folder:
        return read_manifest(folder)


def on_miniature(begin: Path) -> bool:
    """Whether a bundle on this machine was trained on the embedded miniature."""
    try:
        manifest = manifest_of(begin)
    except (BundleError, OSError):
        return False
    port = None if manifest is None else manifest.interface.get("llm")
    return port is not None and str(port.source).startswith(MINIATURE)


def check_begin(recipe: Recipe, begin: Path | None, *, data: bool) -> None:
    """Check the requirements of a run that continues a bundle.

    Args:
        recipe: of the run; one that builds a new adapter may begin with the projectors of a bundle.
        begin: the bundle.
        data: whether training data are given.

    Raises:
        SettingsError: there is no bundle, or there are no data.
    """
    if begin is None and not recipe.continues:
        return
    if begin is None:
        raise SettingsError(
            f"begin: {recipe.system} trains a finished adapter further: give --begin RUN, the folder of a run or "
            "bundle, or a repository on the Hub (owner/name)"
        )
    if not begin.exists() and not on_hub(begin):
        raise SettingsError(f"begin: {begin}: cannot be read: there is no such file or folder")
    try:
        manifest = manifest_of(begin)
    except (BundleError, OSError) as error:
        raise SettingsError(f"begin: {error}") from None
    if not recipe.continues:
        return
    if manifest is not None and recipe.second_lora and "lora" not in manifest.parts:
        raise SettingsError(f"second_lora: expected a bundle with LoRA, and {begin} has none; remove second_lora")
    if not data:
        raise SettingsError(
            f"data: {recipe.system} needs --data.train: preference pairs, such as those that `inlay pairs {begin} "
            "--output pairs.jsonl` writes, or questions with answers for a reward"
        )
