"""A trained adapter on its frozen models, ready to answer: one call for a run, a bundle or a repository on the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.loading.language import load_language
from inlay.adapters.loading.pretrained import BackboneError
from inlay.hub.remote.reachable import with_option
from inlay.recipes.runs.backbone import backbone_settings
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.systems.load_backbone import backbone_for

__all__ = ["backbone_of", "load_model", "loaded_model"]


def load_model(
    bundle: str | Path,
    *,
    backbone: Backbone | BackboneSettings | None = None,
    trusted: Path | None = None,
    **models: Any,
) -> AttachedModel:
    """Load an adapter and its frozen models, and attach it.

    Args:
        bundle: a run folder, a bundle, or a repository on the Hub.
        backbone: loaded frozen models, or settings that name some of them; all others are those of the run, or those
            that the bundle names.
        trusted: PEM file with a public key or a root certificate; a bundle without a valid signature for it is refused.
        models: fields of :class:`BackboneSettings`, such as ``llm="models/vicuna"``; instead of ``backbone``.

    Raises:
        BundleError: no bundle there, or a damaged one.
        SettingsError: the run was trained on a folder that does not exist any more.
        IncompatibleBackbone: the models do not fit, with a table.

    Example:
        >>> from inlay.recipes import load_model  # doctest: +SKIP
        >>> model = load_model("runs/mine")  # doctest: +SKIP
        >>> model.chat([{"role": "user", "content": "Hello"}]).text  # doctest: +SKIP
    """
    adapter = Adapter.from_pretrained(bundle, trusted=trusted)
    model = adapter.attach(backbone_of(bundle, adapter, BackboneSettings(**models) if backbone is None else backbone))
    model.adapter.eval()
    return model


@contextmanager
def loaded_model(
    bundle: str | Path, backbone: Backbone | BackboneSettings, trusted: Path | None = None
) -> Iterator[AttachedModel]:
    """A context with the model of :func:`load_model`; on leaving, loaded models that were given are free again."""
    model = load_model(bundle, backbone=backbone, trusted=trusted)
    try:
        yield model
    finally:
        if isinstance(backbone, Backbone):
            model.adapter.detach()


def backbone_of(
    bundle: str | Path,
    adapter: Adapter,
    backbone: Backbone | BackboneSettings,
    *,
    language: Callable[..., LanguageModel] = load_language,
) -> Backbone:
    """The frozen models of an adapter: as given, or loaded by settings that are completed by those of the run.

    Args:
        bundle: a run folder, a bundle, or a repository on the Hub.
        adapter: its adapter.
        backbone: loaded frozen models, or settings that name some of them.
        language: loads the language model, with the arguments of :func:`load_language`.
    """
    if isinstance(backbone, Backbone):
        return backbone
    settings = backbone_settings(bundle, adapter, backbone)
    try:
        return backbone_for(adapter, settings, language=language)
    except BackboneError as error:
        # The bundle names a folder of another machine, or a model that is not in the cache.
        for name, port in adapter.interface.items():
            field = name.replace("generate.", "generate_")
            if port.source and str(error).startswith(f"{port.source}: ") and not getattr(settings, field, None):
                raise BackboneError(with_option(str(error), f"--backbone.{field}")) from error
        raise
