"""Loading an encoder that is not registered, with the class that transformers has for its config or tower config.

Only one tower of a model with several (SigLIP, MetaCLIP 2, BLIP, LLaVA, Mistral 3) is read; its tensors have longer
names in the file, from which the names in the tower are derived. A model is taken as one for clips if its config has a
number of frames.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
import transformers
from transformers import MODEL_MAPPING, AutoConfig, PretrainedConfig

from inlay.adapters.encoders import AnySoundEncoder, AnyVideoEncoder, AnyVisionEncoder
from inlay.adapters.encoders.video.any_video import frame_count
from inlay.adapters.loading.dtype import chosen_dtype, computable
from inlay.adapters.loading.pretrained import BackboneError, check_feature_options, commit_of, load_weights, model_type
from inlay.hub.errors import InlayError

__all__ = ["ANY_CLASSES", "AnyEncoder", "load_any", "tower_config"]

AnyEncoder: TypeAlias = AnyVisionEncoder | AnyVideoEncoder | AnySoundEncoder

_VISION = r"(?:vision_model|vision_tower|visual|vision_encoder|vision|image_encoder)"
_TOWERS: Mapping[str, str] = {
    "image": _VISION,
    "video": _VISION,
    "audio": r"(?:audio_model|audio_tower|audio_encoder)",
}
"""Names of the towers in the files of larger models."""
_INPUTS: Mapping[str, tuple[str, ...]] = {
    "image": ("pixel_values",),
    "video": ("pixel_values_videos", "pixel_values"),
    "audio": ("input_values", "input_features"),
}
ANY_CLASSES: Mapping[str, Any] = {"image": AnyVisionEncoder, "video": AnyVideoEncoder, "audio": AnySoundEncoder}
"""Modality -> the class of encoders that are not registered."""


def tower_config(modality: str, source: str | Path, options: Mapping[str, Any]) -> PretrainedConfig | None:
    """The config of a model with one modality, or of a tower in a larger model; None if transformers has no class.

    Raises:
        BackboneError: a model for clips was given as an encoder of images.
    """
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
    except (ValueError, OSError, KeyError):
        return None
    if modality not in _INPUTS:
        return None
    inner = getattr(config, "audio_config" if modality == "audio" else "vision_config", config)
    if not isinstance(inner, PretrainedConfig):
        return None
    if getattr(_class_of(inner), "main_input_name", "") not in {name for names in _INPUTS.values() for name in names}:
        return None
    if modality == "image" and frame_count(inner):
        raise BackboneError(
            f"{source}: this model of type {inner.model_type!r} takes clips of {frame_count(inner)} frames, not "
            "images; give it as the video encoder (video=..., --backbone.video)"
        )
    known = _class_of(inner).main_input_name in _INPUTS[modality] and (modality != "video" or frame_count(inner))
    return inner if known else None


def load_any(
    modality: str,
    config: PretrainedConfig,
    source: str | Path,
    processor: Any,
    *,
    dtype: str | torch.dtype,
    device: str | torch.device | None,
    options: Mapping[str, Any],
    feature_options: Mapping[str, Any],
    name: str,
) -> AnyEncoder:
    """Load the model of :func:`tower_config` as an encoder.

    Args:
        modality: ``"image"``, ``"audio"`` or ``"video"``.
        config: the configuration of the model.
        source: Hub id or folder.
        processor: its image processor or feature extractor.
        dtype: the dtype of the weights in memory; for ``"auto"`` see :func:`inlay.adapters.loading.dtype.chosen_dtype`.
        device: where the encoder will be put.
        options: ``revision``, ``local_files_only``.
        feature_options: keyword arguments of the encoder.
        name: the name that bundles store.

    Raises:
        BackboneError: the encoder has no such option, or tensors are missing.
        EncoderError: the model gives no features of a known form.
    """
    encoder_class = ANY_CLASSES[modality]
    check_feature_options(encoder_class, feature_options, source)
    model_class = _class_of(config)
    kind = chosen_dtype(dtype, device)
    further: dict[str, Any] = {"config": config}
    if model_type(source, options) != config.model_type:
        further["key_mapping"] = _names_inside(model_class, config, modality)
    # The pooler is not used; checkpoints with a classifier (DeiT, ViViT) have no weights for it.
    model = load_weights(model_class, source, kind, {**options, **further}, unused="pooler.")
    model = computable(model, kind, device)
    if getattr(config, "is_encoder_decoder", False):  # speech to text: Moonshine, Speech2Text
        model = model.get_encoder()
    try:
        found: AnyEncoder = encoder_class(
            model, processor, source=name, revision=commit_of(model, source), **feature_options
        )
    except InlayError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise BackboneError(f"{source}: {model_class.__name__} cannot be run as an encoder: {error}") from error
    return found


def _names_inside(model_class: Any, config: PretrainedConfig, modality: str) -> dict[str, str]:
    """Regular expression -> replacement, from names of tensors in a larger model to names in the tower."""
    with torch.device("meta"):
        own = sorted({name.partition(".")[0] for name in model_class(config).state_dict()})
    # Modules of a model may have the names of towers in a file: SiglipVisionModel has a vision_model.
    first = rf"(?:{'|'.join(map(re.escape, own))})\."
    return {rf"^(?:model\.)?(?!{first}){_TOWERS[modality]}\.": "", rf"^model\.(?={first})": ""}


def _class_of(config: PretrainedConfig) -> Any:
    """The class of transformers for a config; some vision towers are not in its mappings (BLIP, MetaCLIP 2)."""
    found: Any = MODEL_MAPPING.get(type(config), None)
    if found is None:
        found = getattr(transformers, f"{type(config).__name__.removesuffix('Config')}Model", None)
    return found[0] if isinstance(found, tuple) else found
