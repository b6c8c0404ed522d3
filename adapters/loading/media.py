"""Loading encoders of sounds and clips, and those of all modalities together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoFeatureExtractor, ClapAudioModelWithProjection, HubertModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from inlay.adapters.encoders import (
    AudioEncoder,
    ClapEncoder,
    Encoder,
    FrameEncoder,
    HubertEncoder,
    WhisperAudioEncoder,
)
from inlay.adapters.encoders.beats import BeatsEncoder
from inlay.adapters.loading.beats import load_beats
from inlay.adapters.loading.imagebind import load_joint
from inlay.adapters.loading.language import load_image_encoder
from inlay.adapters.loading.pretrained import (
    BackboneError,
    check_rule,
    commit_of,
    given,
    load_weights,
    loading,
    source_name,
)
from inlay.adapters.loading.weights_file import kind_of
from inlay.adapters.media.modality import Modality

__all__ = ["load_audio_encoder", "load_encoders", "load_video_encoder"]


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


def load_encoders(
    sources: Mapping[Modality, str | Path],
    *,
    revisions: Mapping[str, str] | None = None,
    dtype: str | torch.dtype = "auto",
    local_files_only: bool = False,
    rules: Mapping[Modality, Mapping[str, Any]] | None = None,
    names: Mapping[Modality, str] | None = None,
) -> dict[Modality, Encoder]:
    """The encoders of several modalities. An ImageBind that several ask for is loaded once, and they share it.

    Args:
        sources: modality -> Hub id, folder, or released file.
        revisions: modality -> commit, branch or tag.
        dtype: of the weights; ``"auto"`` keeps what is on disk.
        local_files_only: never ask the Hub.
        rules: modality -> further arguments of its encoder.
        names: modality -> what replaces the name of a folder in bundles.

    Raises:
        BackboneError: nothing there that can be loaded, or a family that is not supported.
    """
    kept, said, called = revisions or {}, rules or {}, names or {}
    joint: dict[tuple[str, str | None], list[Modality]] = {}
    for modality, source in sources.items():
        with loading(source, f"{modality} encoder"):
            if kind_of(source, given(revision=kept.get(modality), local_files_only=local_files_only)) == "imagebind":
                joint.setdefault((str(source), kept.get(modality)), []).append(modality)
    encoders: dict[Modality, Encoder] = {}
    for (place, revision), modalities in joint.items():
        options = given(revision=revision, local_files_only=local_files_only)
        name = called.get(modalities[0])
        encoders |= load_joint(place, modalities, dtype=dtype, options=options, rules=said, name=name)
    for modality, source in sources.items():
        if modality not in encoders:
            encoders[modality] = _LOADERS[modality](
                source,
                revision=kept.get(modality),
                dtype=dtype,
                local_files_only=local_files_only,
                rule=said.get(modality),
                name=called.get(modality),
            )
    return {modality: encoders[modality] for modality in sources}


def load_audio_encoder(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    local_files_only: bool = False,
    rule: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Encoder:
    """An encoder of sounds with its feature extractor from a Hub id or a folder; of BEATs and ImageBind also a file.

    Of a whole Whisper only the encoder is read, of a whole CLAP only the audio tower and its projection.

    Args:
        source: of a Whisper, HuBERT, CLAP, BEATs or ImageBind model.
        revision: commit, branch or tag.
        dtype: of the weights; ``"auto"`` keeps what is on disk.
        local_files_only: never ask the Hub.
        rule: further arguments of the encoder, such as ``layer`` or ``seconds``.
        name: replaces the name of a folder or file in bundles.

    Raises:
        BackboneError: nothing there that can be loaded, or a family that is not supported.
    """
    with loading(source, "audio encoder"):
        options = given(revision=revision, local_files_only=local_files_only)
        kind = kind_of(source, options)
        known, asked = name or source_name(source), dict(rule or {})
        if kind == "imagebind":
            heard = load_joint(source, ["audio"], dtype=dtype, options=options, rules={"audio": asked}, name=name)
            return heard["audio"]
        if kind == "beats":
            check_rule(BeatsEncoder, asked, source)
            beats, commit = load_beats(source, dtype=dtype, options=options)
            return BeatsEncoder(beats, source=known, revision=commit, **asked)
        family = _AUDIO.get(kind)
        if family is None:
            raise BackboneError(
                f"{source}: audio encoders of type {kind!r} are not supported; expected one of "
                f"{', '.join([*_AUDIO, 'beats', 'imagebind'])}. Build the encoder yourself and pass "
                "Backbone(llm=..., encoders={'audio': ...})"
            )
        check_rule(family.encoder, asked, source)
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
        mapping = {"key_mapping": dict(family.renamed)} if family.renamed else {}
        config = getattr(config, "audio_config", config)
        model = load_weights(family.model, source, dtype, options | mapping | {"config": config})
        load_extractor: Any = AutoFeatureExtractor.from_pretrained
        extractor = load_extractor(source, trust_remote_code=False, **options)
    return family.encoder(model, extractor, source=known, revision=commit_of(model), **asked)


def load_video_encoder(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    local_files_only: bool = False,
    rule: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Encoder:
    """An encoder of clips: ImageBind, or an image encoder that looks at moments, see :class:`FrameEncoder`.

    Args:
        source: Hub id, folder or file of what :func:`load_image_encoder` takes.
        revision: commit, branch or tag.
        dtype: of the weights; ``"auto"`` keeps what is on disk.
        local_files_only: never ask the Hub.
        rule: ``frames`` and ``pooling`` of :class:`FrameEncoder`, and further arguments of the image encoder. With one
            of the two, ImageBind too is only shown moments.
        name: replaces the name of a folder or file in bundles.

    Raises:
        BackboneError: nothing there that can be loaded, or a family that is not supported.
    """
    asked = dict(rule or {})
    with loading(source, "video encoder"):
        options = given(revision=revision, local_files_only=local_files_only)
        if kind_of(source, options) == "imagebind":
            seen = load_joint(source, ["video"], dtype=dtype, options=options, rules={"video": asked}, name=name)
            return seen["video"]
    sampled = {key: asked.pop(key) for key in ("frames", "pooling") if key in asked}
    common: dict[str, Any] = {"revision": revision, "dtype": dtype, "local_files_only": local_files_only}
    return FrameEncoder(load_image_encoder(source, **common, rule=asked, name=name), **sampled)


_LOADERS: Mapping[Modality, Callable[..., Encoder]] = {
    "image": load_image_encoder,
    "audio": load_audio_encoder,
    "video": load_video_encoder,
}
