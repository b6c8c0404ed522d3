"""Which backbone goes with an adapter: found again by the names that its interface carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from inlay.adapters.backbone import Backbone, load_image_encoder, load_language
from inlay.hub.manifest import PortSpec
from inlay.recipes.miniature import backbone_path

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter
    from inlay.recipes.settings import BackboneSettings

__all__ = ["MINIATURE", "backbone_for", "backbone_from", "miniature_backbone"]

MINIATURE = "inlay-miniature/"
"""Sources with this prefix are the models that ship with the package."""


def miniature_backbone() -> Backbone:
    """The embedded LLaMA and CLIP, in float32.

    Example:
        >>> backbone = miniature_backbone()
        >>> backbone.llm.family, backbone.encoder("image").family
        ('llama', 'clip_vision_model')
    """
    language = load_language(backbone_path("llama"), dtype=torch.float32, name=f"{MINIATURE}llama")
    encoder = load_image_encoder(backbone_path("clip"), dtype=torch.float32, name=f"{MINIATURE}clip")
    return Backbone(language, {"image": encoder})


def backbone_for(adapter: Adapter, settings: BackboneSettings | None = None) -> Backbone:
    """The backbone that an adapter was trained on, from the miniature, from the Hub's cache or from the Hub.

    Args:
        adapter: its interface names the sources, the layer and the class-token rule.
        settings: other sources, a data type.

    Raises:
        BackboneError: a source that cannot be loaded.
    """
    ports: Mapping[str, PortSpec] = adapter.interface
    llm = (settings.llm if settings else None) or ports["llm"].source
    image = (settings.image if settings else None) or (ports["image"].source if "image" in ports else None)
    if llm is not None and llm.startswith(MINIATURE):
        return miniature_backbone()
    rule = ports["image"].settings if "image" in ports else {}
    layer, class_token = rule.get("layer"), rule.get("class_token")
    return Backbone.from_pretrained(
        llm or "",
        image,
        dtype=_dtype(settings),
        layer=layer if isinstance(layer, int) else None,
        class_token=class_token if isinstance(class_token, str) else None,
        revisions={name: port.revision for name, port in ports.items() if port.revision and not settings},
    )


def backbone_from(settings: BackboneSettings) -> Backbone:
    """The backbone that a training run asks for."""
    if settings.llm is None:
        return miniature_backbone()
    return Backbone.from_pretrained(
        settings.llm, settings.image, dtype=_dtype(settings), layer=settings.layer, class_token=settings.class_token
    )


def _dtype(settings: BackboneSettings | None) -> str:
    if settings is not None and settings.dtype != "auto":
        return settings.dtype
    return "bfloat16" if torch.cuda.is_available() else "float32"
