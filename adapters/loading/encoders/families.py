"""Loading an encoder of a registered family, see :func:`inlay.adapters.encoders.register_encoder`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor
from transformers.models.auto import image_processing_auto

from inlay.adapters.encoders import ENCODERS, BeatsEncoder, Encoder, check_encoder, register_encoder
from inlay.adapters.loading.dtype import chosen_dtype, computable
from inlay.adapters.loading.encoders.any_encoder import ANY_CLASSES, load_any, tower_config
from inlay.adapters.loading.files.checkpoint import stored_file
from inlay.adapters.loading.pretrained import (
    BackboneError,
    check_feature_options,
    commit_of,
    feature_option_names,
    load_weights,
    model_type,
    source_name,
)
from inlay.adapters.loading.released.beats import load_beats_encoder
from inlay.adapters.media.modality import Modality

__all__ = ["ProcessorWarning", "known_options", "load_registered"]

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_VIDEO_PROCESSOR_FILES = ("video_preprocessor_config.json", *_PROCESSOR_FILES)
_LARGEST_CONFIG = 1 << 20

register_encoder("beats", BeatsEncoder, modality="audio", load=load_beats_encoder)


class ProcessorWarning(UserWarning):
    """An image encoder has no preprocessor_config.json, so its family's defaults are used."""


def known_options(
    modality: Modality, family_name: str, source: str | Path, options: Mapping[str, Any]
) -> list[str] | None:
    """The feature options of an encoder, determined without its weights; None if it is not supported.

    Args:
        modality: as in :func:`load_registered`.
        family_name: as in :func:`load_registered`.
        source: as in :func:`load_registered`.
        options: as in :func:`load_registered`.
    """
    if (family := ENCODERS.get((modality, family_name))) is not None:
        return feature_option_names(family.loader)
    if tower_config(modality, source, options) is None:
        return None
    return feature_option_names(ANY_CLASSES[modality])


def load_registered(
    modality: Modality,
    family_name: str,
    source: str | Path,
    *,
    dtype: str | torch.dtype,
    device: str | torch.device | None,
    options: Mapping[str, Any],
    feature_options: Mapping[str, Any],
    name: str | None,
) -> Encoder:
    """Load an encoder of the family that is registered for a model type.

    Args:
        modality: ``"image"``, ``"audio"`` or ``"video"``.
        family_name: ``model_type`` of config.json.
        source: Hub id, folder or file.
        dtype: the dtype of the weights in memory; for ``"auto"`` see :func:`inlay.adapters.loading.dtype.chosen_dtype`.
        device: where the encoder is put; the CPU if not given.
        options: ``revision``, ``local_files_only``.
        feature_options: keyword arguments of the encoder.
        name: the name that bundles store instead of a folder's.

    Raises:
        BackboneError: the family is neither registered nor a model of transformers for this modality, it has no such
            option, or the files cannot be loaded.
        EncoderError: the loaded object is not an encoder.
    """
    family = ENCODERS.get((modality, family_name))
    if family is None and (config := tower_config(modality, source, options)) is not None:
        found = load_any(
            modality,
            config,
            source,
            _processor(modality, source, options),
            dtype=dtype,
            device=device,
            options=options,
            feature_options=feature_options,
            name=name or source_name(source),
        )
        return cast(Encoder, found if device is None else found.to(device))
    if family is None:
        known = [kind for registered, kind in ENCODERS if registered == modality]
        raise BackboneError(
            f"{source}: {modality} encoders of type {family_name!r} are not supported; expected one of "
            f"{', '.join([*known, 'imagebind'])}, or a model of transformers. Register your own with "
            "inlay.adapters.register_encoder in a file that is imported first (on the command line: --import FILE.py), "
            f"or build it and pass Backbone(llm=..., encoders={{{modality!r}: ...}})"
        )
    check_feature_options(family.loader, feature_options, source)
    kind = chosen_dtype(dtype, device)
    stored = name or source_name(source)
    if family.model_class is None:
        load: Any = family.load
        common = {"revision": None, "local_files_only": False, **options}
        encoder = load(source, dtype=kind, name=stored, **common, **feature_options)
        encoder = computable(check_encoder(modality, encoder), kind, device)
    else:
        further: dict[str, Any] = {"key_mapping": dict(family.key_mapping)} if family.key_mapping else {}
        if modality == "audio":
            # For a CLAP with two towers, the config of the audio tower.
            config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
            further["config"] = getattr(config, "audio_config", config)
        # The pooler is not used; checkpoints with a classifier (ViT) have no weights for it.
        unused = None if modality == "audio" else "pooler."
        model = load_weights(family.model_class, source, kind, {**options, **further}, unused=unused)
        model = computable(model, kind, device)
        build: Any = family.encoder_class
        encoder = build(
            model,
            _processor(modality, source, options),
            source=stored,
            revision=commit_of(model, source),
            **feature_options,
        )
        check_encoder(modality, encoder)
    return cast(Encoder, encoder if device is None else encoder.to(device))


def _processor(modality: Modality, source: str | Path, options: Mapping[str, Any]) -> Any:
    """The feature extractor of sounds, the fields of the processor of clips, or the image processor.

    Image processors use Pillow, so that pixels do not depend on torch. Those of clips need torchvision in transformers,
    so only their settings are read.
    """
    if modality == "audio":
        load_extractor: Any = AutoFeatureExtractor.from_pretrained
        return load_extractor(source, trust_remote_code=False, **options)
    if modality == "video":
        return _video_fields(source, options)
    if not any(stored_file(source, name, options) for name in _PROCESSOR_FILES):
        return _default_processor(source, options)
    load_processor: Any = AutoImageProcessor.from_pretrained
    return load_processor(source, trust_remote_code=False, backend="pil", **options)


def _video_fields(source: str | Path, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of the first processor file that has mean and standard deviation.

    Raises:
        BackboneError: there is no such file.
    """
    for name in _VIDEO_PROCESSOR_FILES:
        path = stored_file(source, name, options)
        if path is None or path.stat().st_size > _LARGEST_CONFIG:
            continue
        held = json.loads(path.read_text(encoding="utf-8"))
        for fields in (held, *(held.get(key) for key in ("video_processor", "image_processor"))):
            if isinstance(fields, dict) and {"image_mean", "do_normalize"} & set(fields):
                return fields
    raise BackboneError(
        f"{source}: expected {' or '.join(_VIDEO_PROCESSOR_FILES[:2])} with image_mean and image_std by config.json"
    )


def _default_processor(source: str | Path, options: Mapping[str, Any]) -> Any:
    """The image processor of the model's family with its default mean and standard deviation.

    Raises:
        BackboneError: the family has no image processor.
    """
    kind = model_type(source, options).removesuffix("_vision_model")
    known: Any = image_processing_auto
    name = (known.IMAGE_PROCESSOR_MAPPING_NAMES.get(kind) or {}).get("pil")
    if name is None:
        raise BackboneError(
            f"{source}: expected preprocessor_config.json next to config.json; transformers has no image processor for "
            f"models of type {kind!r}"
        )
    warnings.warn(
        f"{source}: there is no preprocessor_config.json, so images get the mean and standard deviation of {name}",
        ProcessorWarning,
        stacklevel=2,
    )
    return getattr(transformers, name)()
