"""Loading an encoder of a registered family, see :func:`inlay.adapters.encoders.register_encoder`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor

from inlay.adapters.encoders import ENCODERS, BeatsEncoder, Encoder, check_encoder, register_encoder
from inlay.adapters.loading.any_encoder import load_any, tower_config
from inlay.adapters.loading.dtype import chosen_dtype, computable
from inlay.adapters.loading.pretrained import (
    BackboneError,
    check_feature_options,
    commit_of,
    load_weights,
    source_name,
)
from inlay.adapters.loading.released.beats import load_beats_encoder
from inlay.adapters.media.modality import Modality

__all__ = ["load_registered"]

register_encoder("beats", BeatsEncoder, modality="audio", load=load_beats_encoder)


def load_registered(
    modality: Modality,
    model_type: str,
    source: str | Path,
    *,
    dtype: str | torch.dtype,
    device: str | torch.device | None,
    options: Mapping[str, Any],
    feature_options: Mapping[str, Any],
    name: str | None,
) -> Encoder:
    """An encoder of the family that is registered for a model type.

    Args:
        modality: ``"image"``, ``"audio"`` or ``"video"``.
        model_type: of config.json.
        source: Hub id, folder or file.
        dtype: of the weights in memory; for ``"auto"`` see :func:`inlay.adapters.loading.dtype.chosen_dtype`.
        device: where the encoder is put; the CPU if not given.
        options: ``revision``, ``local_files_only``.
        feature_options: keyword arguments of the encoder.
        name: stored in bundles instead of a folder's name.

    Raises:
        BackboneError: the family is neither registered nor a model of transformers for this modality, it has no such
            option, or the files cannot be loaded.
        EncoderError: what was loaded is not an encoder.
    """
    family = ENCODERS.get((modality, model_type))
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
            f"{source}: {modality} encoders of type {model_type!r} are not supported; expected one of "
            f"{', '.join([*known, 'imagebind'])}. Register your own with inlay.adapters.encoders.register_encoder, or "
            f"build it and pass Backbone(llm=..., encoders={{{modality!r}: ...}})"
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
            # Of a CLAP with two towers, the config of the audio tower.
            config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
            further["config"] = getattr(config, "audio_config", config)
        model = computable(load_weights(family.model_class, source, kind, {**options, **further}), kind, device)
        build: Any = family.encoder_class
        encoder = build(
            model, _processor(modality, source, options), source=stored, revision=commit_of(model), **feature_options
        )
        check_encoder(modality, encoder)
    return cast(Encoder, encoder if device is None else encoder.to(device))


def _processor(modality: Modality, source: str | Path, options: Mapping[str, Any]) -> Any:
    """The feature extractor of sounds, the image processor otherwise; Pillow's, whose pixels do not depend on torch."""
    if modality == "audio":
        load_extractor: Any = AutoFeatureExtractor.from_pretrained
        return load_extractor(source, trust_remote_code=False, **options)
    load_processor: Any = AutoImageProcessor.from_pretrained
    return load_processor(source, trust_remote_code=False, backend="pil", **options)
