"""Loading encoders of sounds and clips from Hub ids or folders in the standard transformers layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoFeatureExtractor, ClapAudioModelWithProjection, HubertModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from inlay.adapters.encoders import AudioEncoder, ClapEncoder, Encoder, FrameEncoder, HubertEncoder, WhisperAudioEncoder
from inlay.adapters.loading import load_image_encoder
from inlay.adapters.pretrained import BackboneError, commit_of, given, load_weights, loading, model_type, source_name

__all__ = ["load_audio_encoder", "load_video_encoder"]


@dataclass(frozen=True)
class _Family:
    """How the audio encoder of one model type is loaded."""

    model: Any
    """The class of transformers."""
    encoder: Callable[..., AudioEncoder]
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Pattern -> replacement for the names of tensors, where it is part of a larger model."""


_AUDIO = {
    "whisper": _Family(WhisperEncoder, WhisperAudioEncoder, {r"^(model\.)?encoder\.": ""}),
    "hubert": _Family(HubertModel, HubertEncoder),
    "clap": _Family(ClapAudioModelWithProjection, ClapEncoder),
    "clap_audio_model": _Family(ClapAudioModelWithProjection, ClapEncoder),
}


def load_audio_encoder(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    local_files_only: bool = False,
    rule: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Encoder:
    """An encoder of sounds with its feature extractor from a Hub id or a folder.

    Of a whole Whisper only the encoder is read, of a whole CLAP only the audio tower and its projection.

    Args:
        source: Hub id or folder of a Whisper, HuBERT or CLAP model.
        revision: commit, branch or tag.
        dtype: of the weights; ``"auto"`` keeps what is on disk.
        local_files_only: never ask the Hub.
        rule: further arguments of the encoder, such as ``layer`` or ``seconds``.
        name: replaces a folder's name in bundles.

    Raises:
        BackboneError: nothing there that can be loaded, or a family that is not supported.
    """
    with loading(source, "audio encoder"):
        options = given(revision=revision, local_files_only=local_files_only)
        kind = model_type(source, options)
        family = _AUDIO.get(kind)
        if family is None:
            raise BackboneError(
                f"{source}: audio encoders of type {kind!r} are not supported; expected one of {', '.join(_AUDIO)}. "
                "Build the encoder yourself and pass Backbone(llm=..., encoders={'audio': ...})"
            )
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
        mapping = {"key_mapping": dict(family.renamed)} if family.renamed else {}
        config = getattr(config, "audio_config", config)
        model = load_weights(family.model, source, dtype, options | mapping | {"config": config})
        load_extractor: Any = AutoFeatureExtractor.from_pretrained
        extractor = load_extractor(source, trust_remote_code=False, **options)
    return family.encoder(
        model, extractor, source=name or source_name(source), revision=commit_of(model), **(rule or {})
    )


def load_video_encoder(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    local_files_only: bool = False,
    rule: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Encoder:
    """An encoder of clips: an image encoder that looks at moments, see :class:`FrameEncoder`.

    Args:
        source: Hub id or folder of what :func:`load_image_encoder` takes.
        revision: commit, branch or tag.
        dtype: of the weights; ``"auto"`` keeps what is on disk.
        local_files_only: never ask the Hub.
        rule: ``frames`` and ``pooling`` of :class:`FrameEncoder`, and further arguments of the image encoder.
        name: replaces a folder's name in bundles.

    Raises:
        BackboneError: nothing there that can be loaded, or a family that is not supported.
    """
    asked = dict(rule or {})
    sampled = {key: asked.pop(key) for key in ("frames", "pooling") if key in asked}
    options: dict[str, Any] = {"revision": revision, "dtype": dtype, "local_files_only": local_files_only}
    return FrameEncoder(load_image_encoder(source, **options, rule=asked, name=name), **sampled)
