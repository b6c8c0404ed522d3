"""LLaVA 1.5 and 1.6 as transformers stores them: ``Llava`` and ``LlavaNextForConditionalGeneration``.

The names on disk depend on the version of transformers that wrote them: ``multi_modal_projector.*`` up to 4.51 and
again from 5.0, with ``vision_tower.vision_model.*`` or ``vision_tower.*``; ``model.multi_modal_projector.*`` in 4.52 to
4.57. The language model and the vision tower stay in the folder, which is then the backbone of the adapter.
"""

from __future__ import annotations

from typing import Any

from inlay.adapters.convert.formats.llava import anyres
from inlay.adapters.convert.imported import Imported, Models, part_tensors
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.processor_files import geometry_of, layout_of
from inlay.adapters.convert.source import ConvertError, Source
from inlay.hub.safety.text import shown

__all__ = ["KEYS", "matches", "read"]

KEYS = KeyTable(
    (
        ("multi_modal_projector.linear_1.{leaf}", "inputs.image.layers.0.{leaf}"),
        ("multi_modal_projector.linear_2.{leaf}", "inputs.image.layers.2.{leaf}"),
        ("image_newline", "inputs.image.newline.row"),
        ("vision_tower.vision_model.{rest*}", "backbone.image.{rest}"),
        ("vision_tower.{rest*}", "backbone.image.{rest}"),
        ("language_model.model.{rest*}", "backbone.llm.model.{rest}"),
        ("language_model.lm_head.{leaf}", "backbone.llm.lm_head.{leaf}"),
        ("language_model.{rest*}", "backbone.llm.model.{rest}"),
        ("lm_head.{leaf}", "backbone.llm.lm_head.{leaf}"),
    ),
    ignored={
        "{rest*}.rotary_emb.inv_freq": "constants of the rotary embedding",
        "{rest*}.position_ids": "position numbers",
    },
    prefixes=("", "model."),
)
"""Names of all versions, the oldest first, which every program reads."""

_TYPES = ("llava", "llava_next")


def matches(source: Source) -> bool:
    """Whether a folder contains one of the two classes."""
    return source.path.is_dir() and source.config.get("model_type") in _TYPES and "text_config" in source.config


def read(source: Source, template: str | None) -> Imported:
    """Read a folder; only files with tensors of the projector are opened.

    Args:
        source: the folder.
        template: the template of the conversations; that of the folder's chat template if not given.

    Raises:
        ConvertError: a setting or a tensor that cannot be converted.
    """
    config = source.config
    _expect(source, "projector_hidden_act", ("gelu",), "gelu")
    _expect(source, "multimodal_projector_bias", (True,), True)
    strategy = _expect(source, "vision_feature_select_strategy", ("default", "full"), "default")
    layer = config.get("vision_feature_layer", -2)
    if type(layer) is not int:
        raise ConvertError(f"{source}: vision_feature_layer: expected one layer, got {shown(layer)}")
    renamed = KEYS.rename(source.weights, source)
    tensors, frozen = part_tensors(source.weights, renamed)
    first = tensors.get("inputs.image.layers.0.weight")
    if first is None or first.dim() != 2:
        raise ConvertError(f"{source}: multi_modal_projector.linear_1.weight is missing, or is not a matrix")
    tiled = config["model_type"] == "llava_next"
    fields: dict[str, Any] = {"geometry": {"image": geometry_of(source)}}
    if tiled:
        side = (config.get("vision_config") or {}).get("image_size", 336)
        fields["tiling"] = anyres(config.get("image_grid_pinpoints"), source, transposed=False, side=side)
    # A vision tower without a class token is stored as "full", since it has no token to drop.
    kinds = {"default": "drop", "full": "keep" if _has_class_token(config) else "none"}
    return Imported(
        system="llava",
        layout=layout_of(source, template, **fields),
        models=Models(
            llm=str(source.path),
            image=str(source.path),
            own=True,
            image_options={"layer": layer, "class_token": kinds[strategy]},
        ),
        inputs={"image": ("mlp", {"width_in": first.shape[1], "width_out": first.shape[0], "depth": 2})},
        tensors=tensors,
        frozen=frozen,
        ignored=renamed.ignored,
    )


def _has_class_token(config: dict[str, Any]) -> bool:
    return "siglip" not in str((config.get("vision_config") or {}).get("model_type", "clip_vision_model"))


def _expect(source: Source, field: str, allowed: tuple[Any, ...], default: Any) -> Any:
    if (value := source.config.get(field, default)) not in allowed:
        raise ConvertError(f"{source}: {field}: expected {' or '.join(map(str, allowed))}, got {shown(value)}")
    return value
