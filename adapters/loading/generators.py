"""Generators from Hub ids or folders in the standard diffusers layout: ``model_index.json`` and a folder a component.

The components are loaded one by one into a fixed set of classes: no pipeline is built, no code from a repository is
run, and nothing but safetensors is read. diffusers itself is the extra ``generate``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, ClapTextModelWithProjection, CLIPTextModel, SpeechT5HifiGan, T5EncoderModel

from inlay.adapters.generators.audio import AudioLdm
from inlay.adapters.generators.diffusion import LatentDiffusion
from inlay.adapters.generators.image import StableDiffusion
from inlay.adapters.generators.protocol import Generator, GeneratorError
from inlay.adapters.generators.text import ClapText, ClipText, T5Text, TextEncoder
from inlay.adapters.generators.video import TextToVideo
from inlay.adapters.generators.video_transformer import CogVideoX
from inlay.adapters.loading.pretrained import BackboneError, given, load_weights, loading, source_name
from inlay.adapters.loading.registered_generator import registered_loader

__all__ = ["load_generator"]

NEEDS = (
    "generators need diffusers, which is not installed; get it with: pip install 'inlay[generate]'. Adapters that make "
    "no media work without it"
)


@dataclass(frozen=True)
class _Family:
    """How the parts of one pipeline are put together."""

    generator: type[LatentDiffusion]
    unet: str
    """The class of diffusers."""
    text: Any
    """The class of transformers."""
    encoder: Callable[[Any, Any, Any], TextEncoder]
    """Text model, tokenizer, unet -> text encoder."""
    vocoder: Any = None
    """The class of transformers, where there is one."""
    vae: str = "AutoencoderKL"
    folder: str = "unet"
    """Where the unet lies."""


def _clip(model: Any, tokenizer: Any, unet: Any) -> TextEncoder:
    return ClipText(model, tokenizer)


def _clap(model: Any, tokenizer: Any, unet: Any) -> TextEncoder:
    return ClapText(model, tokenizer)


def _t5(model: Any, tokenizer: Any, unet: Any) -> TextEncoder:
    return T5Text(model, tokenizer, int(unet.config.max_text_seq_length))


_FAMILIES = {
    "StableDiffusionPipeline": _Family(StableDiffusion, "UNet2DConditionModel", CLIPTextModel, _clip),
    "AudioLDMPipeline": _Family(
        AudioLdm, "UNet2DConditionModel", ClapTextModelWithProjection, _clap, vocoder=SpeechT5HifiGan
    ),
    "TextToVideoSDPipeline": _Family(TextToVideo, "UNet3DConditionModel", CLIPTextModel, _clip),
    "CogVideoXPipeline": _Family(
        CogVideoX,
        "CogVideoXTransformer3DModel",
        T5EncoderModel,
        _t5,
        vae="AutoencoderKLCogVideoX",
        folder="transformer",
    ),
}
"""``_class_name`` in ``model_index.json`` -> its parts."""


def load_generator(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    text_encoder: bool = True,
    local_files_only: bool = False,
    name: str | None = None,
) -> Generator:
    """A generator with its scheduler from a Hub id or a folder.

    Args:
        source: of Stable Diffusion 1.5 or 2, AudioLDM, CogVideoX, or a text-to-video model with a 3D unet.
        revision: commit, branch or tag.
        dtype: of the weights; ``"auto"`` keeps what is on disk.
        text_encoder: keep the text encoder. Without it the conditioning of an empty text is computed once and kept, so
            that guidance works, and the rest is left to an output projector.
        local_files_only: never ask the Hub.
        name: replaces a folder's name in bundles.

    Raises:
        BackboneError: nothing there that can be loaded, or a pipeline that is not supported.
        GeneratorError: diffusers is not installed, or the parts do not belong together.
    """
    with loading(source, "generator"):
        own = registered_loader(source, revision=revision, local_files_only=local_files_only)
    if own is not None:
        return own(
            str(source),
            revision=revision,
            dtype=dtype,
            text_encoder=text_encoder,
            local_files_only=local_files_only,
            name=name,
        )
    diffusers = _diffusers()
    options = given(revision=revision, local_files_only=local_files_only or None)
    with loading(source, "generator"):
        index, commit = _index(source, options)
        kind = str(index.get("_class_name"))
        family = _FAMILIES.get(kind)
        if family is None:
            raise BackboneError(
                f"{source}: pipelines of class {kind!r} are not supported; expected one of {', '.join(_FAMILIES)}. "
                "Load another one with register_generator(name, load), or pass Backbone(llm=..., generators=...)"
            )
        reader = load_weights(family.text, source, dtype, options | {"subfolder": "text_encoder"})
        # diffusers knows no "auto": there the data type on disk is that of the text encoder beside.
        kept = {"torch_dtype": reader.dtype, "use_safetensors": True, **options}
        unet = _part(getattr(diffusers, family.unet), source, family.folder, kept)
        vae = _part(getattr(diffusers, family.vae), source, "vae", kept)
        scheduler = _scheduler(diffusers, index, source, options)
        more: dict[str, Any] = {}
        if family.vocoder is not None:
            more["vocoder"] = load_weights(family.vocoder, source, dtype, options | {"subfolder": "vocoder"})
        tokenizer = AutoTokenizer.from_pretrained(source, subfolder="tokenizer", trust_remote_code=False, **options)
    text = family.encoder(reader, tokenizer, unet)
    facts: dict[str, Any] = {"source": name or source_name(source), "revision": commit}
    if not text_encoder:
        facts |= {"unconditional": text.encode([""]), "tokens": text.tokens}
    return family.generator(
        unet=unet, vae=vae, scheduler=scheduler, text=text if text_encoder else None, **more, **facts
    )


def _diffusers() -> Any:
    try:
        return import_module("diffusers")
    except ImportError as error:
        raise GeneratorError(NEEDS) from error


def _index(source: str | Path, options: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """``model_index.json``, and the commit if it came from the Hub."""
    pipeline: Any = _diffusers().DiffusionPipeline
    index, commit = pipeline.load_config(source, return_commit_hash=True, **options)
    return dict(index), commit if isinstance(commit, str) and re.fullmatch("[0-9a-f]{40}", commit) else None


def _part(kind: Any, source: str | Path, folder: str, options: Mapping[str, Any]) -> Any:
    """A model of diffusers; a tensor that is missing or of another shape is an error here as everywhere."""
    model, found = kind.from_pretrained(source, subfolder=folder, output_loading_info=True, **options)
    lacking = sorted({*map(str, found["missing_keys"]), *map(str, found["mismatched_keys"])})
    if lacking:
        raise BackboneError(
            f"{source}: {folder}: {len(lacking)} tensors are missing or of another shape: {', '.join(lacking[:5])}; "
            "they would be left at random values"
        )
    return model


def _scheduler(diffusers: Any, index: Mapping[str, Any], source: str | Path, options: Mapping[str, Any]) -> Any:
    entry = index.get("scheduler")
    kind = getattr(diffusers, str(entry[1]), None) if isinstance(entry, (list, tuple)) and len(entry) == 2 else None
    if not isinstance(kind, type) or not issubclass(kind, diffusers.SchedulerMixin):
        raise BackboneError(f"{source}: model_index.json: scheduler: expected a scheduler of diffusers, got {entry!r}")
    loader: Any = kind
    return loader.from_pretrained(source, subfolder="scheduler", **options)
