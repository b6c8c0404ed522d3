"""Loading a generator from a Hub id or a folder in the standard diffusers layout: ``model_index.json`` and components.

The components are loaded one by one into a fixed set of classes: no pipeline is built, and no code from a repository is
run. Weights are safetensors, or pickles of tensors if there are none. diffusers is installed by the extra ``generate``.
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
from inlay.adapters.loading.dtype import chosen_dtype, computable
from inlay.adapters.loading.files.checkpoint import DIFFUSION, has_pickled_weights
from inlay.adapters.loading.pretrained import BackboneError, check_loaded, given, load_weights, loading, source_name
from inlay.adapters.loading.registered_generator import registered_loader
from inlay.adapters.parts.registration import IMPORT_OWN

__all__ = ["load_generator"]

NEEDS = (
    "generators need diffusers, which is not installed: pip install 'inlay[generate]'. Adapters without output "
    "projectors work without it"
)


@dataclass(frozen=True)
class _Pipeline:
    """The components of one pipeline class of diffusers, and the generator that they form."""

    generator: type[LatentDiffusion]
    denoiser: str
    """Name of the denoiser's class in diffusers: a unet or a transformer."""
    text_model: Any
    """Class of transformers."""
    text_encoder: Callable[[Any, Any, Any], TextEncoder]
    """Function from text model, tokenizer and denoiser to the text encoder."""
    vocoder: Any = None
    """Name of the vocoder's class in transformers, for audio."""
    vae: str = "AutoencoderKL"
    """Class of diffusers."""
    folder: str = "unet"
    """Folder of the denoiser."""


def _clip(model: Any, tokenizer: Any, unet: Any) -> TextEncoder:
    return ClipText(model, tokenizer)


def _clap(model: Any, tokenizer: Any, unet: Any) -> TextEncoder:
    return ClapText(model, tokenizer)


def _t5(model: Any, tokenizer: Any, unet: Any) -> TextEncoder:
    return T5Text(model, tokenizer, int(unet.config.max_text_seq_length))


_PIPELINES = {
    "StableDiffusionPipeline": _Pipeline(StableDiffusion, "UNet2DConditionModel", CLIPTextModel, _clip),
    "AudioLDMPipeline": _Pipeline(
        AudioLdm, "UNet2DConditionModel", ClapTextModelWithProjection, _clap, vocoder=SpeechT5HifiGan
    ),
    "TextToVideoSDPipeline": _Pipeline(TextToVideo, "UNet3DConditionModel", CLIPTextModel, _clip),
    "CogVideoXPipeline": _Pipeline(
        CogVideoX,
        "CogVideoXTransformer3DModel",
        T5EncoderModel,
        _t5,
        vae="AutoencoderKLCogVideoX",
        folder="transformer",
    ),
}
"""``_class_name`` in ``model_index.json`` -> its components."""


def load_generator(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    text_encoder: bool = True,
    local_files_only: bool = False,
    name: str | None = None,
) -> Generator:
    """Load a generator with its scheduler from a Hub id or a folder.

    Args:
        source: Hub id or folder of Stable Diffusion 1.5 or 2, AudioLDM, CogVideoX, or a text-to-video model with a 3D
            unet.
        revision: commit, branch or tag.
        dtype: the dtype of the weights in memory; for ``"auto"`` see :func:`inlay.adapters.loading.dtype.chosen_dtype`.
            All components get the dtype of the text encoder.
        device: where the generator is put; the CPU if not given.
        text_encoder: keep the text encoder. Without it only the conditioning of the empty text is kept, for
            classifier-free guidance, and all other conditioning comes from an output projector.
        local_files_only: send no request to the Hub.
        name: the name that bundles store instead of a folder's.

    Raises:
        BackboneError: the files cannot be loaded, or the pipeline is not supported.
        GeneratorError: diffusers is not installed, or the components do not fit each other.
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
    kind = chosen_dtype(dtype, device)
    with loading(source, "generator"):
        index, commit = _index(source, options)
        class_name = str(index.get("_class_name"))
        pipeline = _PIPELINES.get(class_name)
        if pipeline is None:
            raise BackboneError(
                f"{source}: pipelines of class {class_name!r} are not supported; expected one of "
                f"{', '.join(_PIPELINES)}. {IMPORT_OWN[0].upper()}{IMPORT_OWN[1:]}, which calls "
                "register_generator(name, load), or pass Backbone(llm=..., generators=...)"
            )
        text_model = load_weights(pipeline.text_model, source, kind, options | {"subfolder": "text_encoder"})
        text_model = computable(text_model, kind, device)
        # diffusers has no "auto", so the other components get the dtype of the text encoder.
        common = {"torch_dtype": text_model.dtype, **options}
        denoiser = _component(getattr(diffusers, pipeline.denoiser), source, pipeline.folder, common)
        vae = _component(getattr(diffusers, pipeline.vae), source, "vae", common)
        scheduler = _scheduler(diffusers, index, source, options)
        further: dict[str, Any] = {}
        if pipeline.vocoder is not None:
            vocoder = load_weights(pipeline.vocoder, source, kind, options | {"subfolder": "vocoder"})
            further["vocoder"] = computable(vocoder, kind, device)
        tokenizer = AutoTokenizer.from_pretrained(source, subfolder="tokenizer", trust_remote_code=False, **options)
    text = pipeline.text_encoder(text_model, tokenizer, denoiser)
    if not text_encoder:
        further |= {"unconditional": text.encode([""]), "tokens": text.tokens}
    generator = pipeline.generator(
        unet=denoiser,
        vae=vae,
        scheduler=scheduler,
        text=text if text_encoder else None,
        source=name or source_name(source),
        revision=commit,
        **further,
    )
    return generator if device is None else generator.to(device)


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


def _component(kind: Any, source: str | Path, folder: str, options: Mapping[str, Any]) -> Any:
    """A model of diffusers."""
    pickled = has_pickled_weights(source, {**options, "subfolder": folder}, DIFFUSION)
    model, found = kind.from_pretrained(
        source, subfolder=folder, output_loading_info=True, use_safetensors=not pickled, **options
    )
    check_loaded(found, source, part=folder)
    return model


def _scheduler(diffusers: Any, index: Mapping[str, Any], source: str | Path, options: Mapping[str, Any]) -> Any:
    entry = index.get("scheduler")
    kind = getattr(diffusers, str(entry[1]), None) if isinstance(entry, (list, tuple)) and len(entry) == 2 else None
    if not isinstance(kind, type) or not issubclass(kind, diffusers.SchedulerMixin):
        raise BackboneError(f"{source}: model_index.json: scheduler: expected a scheduler of diffusers, got {entry!r}")
    loader: Any = kind
    return loader.from_pretrained(source, subfolder="scheduler", **options)
