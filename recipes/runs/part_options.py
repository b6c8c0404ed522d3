"""Options of projectors, checked without models; the widths come later, from the backbone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from inlay.adapters.inputs import projector_config
from inlay.adapters.media.modality import GENERATED
from inlay.adapters.outputs import output_config
from inlay.hub.errors import InlayError
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.recipe import Recipe

__all__ = ["check_part_options"]


def check_part_options(recipe: Recipe) -> None:
    """Check the kinds of a recipe's projectors, their options, and the numbers of signal tokens.

    Raises:
        SettingsError: an unknown kind or field, or a value out of bounds.
    """
    if recipe.projector:  # empty for a recipe that continues a bundle
        with _named("projector_options"):
            projector_config(recipe.projector, recipe.projector_options.get(recipe.projector, {}))
    if recipe.output is None:
        return
    for modality, count in recipe.signals.items():
        if modality not in GENERATED:
            raise SettingsError(f"signals: expected modalities among {', '.join(GENERATED)}, got {modality!r}")
        with _named(f"signals.{modality}"):
            output_config(recipe.output, {"signals": count})
    with _named("output_options"):
        output_config(recipe.output, recipe.output_options)


@contextmanager
def _named(setting: str) -> Iterator[None]:
    try:
        yield
    except InlayError as error:
        raise SettingsError(f"{setting}: {error}") from error
