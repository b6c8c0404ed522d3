"""Loading the parts of a backbone from Hub ids or folders in the standard transformers layout.

No code from a repository is run, nothing but safetensors is read, and a tensor that a model needs and the file lacks is
an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    Blip2VisionModel,
    Blip2VisionModelWithProjection,
    CLIPVisionModel,
    InstructBlipVisionModel,
    ViTModel,
)

from inlay.adapters.encoders import (
    ClipEncoder,
    EvaEncoder,
    ImageEncoder,
    QFormerEncoder,
    VisionEncoder,
    VitEncoder,
)
from inlay.adapters.inputs.qformer import QFormer
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.language.prompt_tokenizer import PromptTokenizer
from inlay.adapters.loading.imagebind import load_joint
from inlay.adapters.loading.pretrained import (
    BackboneError,
    check_rule,
    chosen_dtype,
    commit_of,
    given,
    load_weights,
    loading,
    source_name,
)
from inlay.adapters.loading.quantisation import quantised_options
from inlay.adapters.loading.weights_file import kind_of

__all__ = ["BackboneError", "chosen_dtype", "load_image_encoder", "load_language", "load_prompt_tokenizer"]


def load_language(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    local_files_only: bool = False,
    name: str | None = None,
    quantise: str | None = None,
) -> LanguageModel:
    """A language model with its tokenizer from a Hub id or a folder.

    Args:
        source: Hub id or folder.
        revision: commit, branch or tag.
        dtype: of the weights in memory; ``"auto"`` keeps what is on disk.
        local_files_only: never ask the Hub.
        name: replaces a folder's name in bundles.
        quantise: ``"nf4"`` or ``"int8"``, see :mod:`inlay.adapters.loading.quantisation`.
    """
    further = {"dtype": dtype} if quantise is None else quantised_options(quantise, dtype)
    with loading(source, "language model"):
        options = given(revision=revision, local_files_only=local_files_only)
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = load_weights(kind, source, further.pop("dtype"), {**options, **further})
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
    return LanguageModel(model, tokenizer, source=name or source_name(source), revision=commit_of(model))


def load_prompt_tokenizer(
    source: str | Path,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    name: str | None = None,
) -> PromptTokenizer:
    """The tokenizer of projectors that read, from a Hub id or a folder; ``revision`` is stored if it is a commit."""
    with loading(source, "tokenizer"):
        options = given(revision=revision, local_files_only=local_files_only)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
    commit = revision if revision is not None and re.fullmatch("[0-9a-f]{40}", revision) else None
    return PromptTokenizer(tokenizer, source=name or source_name(source), revision=commit)


@dataclass(frozen=True)
class _Family:
    """How the image encoder of one model type is loaded."""

    model: Any
    """The class of transformers."""
    encoder: Callable[..., VisionEncoder]
    inside: str = ""
    """What stands before the names of its tensors in the file, where it is part of a larger model."""


_FAMILIES = {
    "clip": _Family(CLIPVisionModel, ClipEncoder),
    "clip_vision_model": _Family(CLIPVisionModel, ClipEncoder),
    "vit": _Family(ViTModel, VitEncoder),
    "blip_2_vision_model": _Family(Blip2VisionModel, EvaEncoder),
    "blip-2": _Family(Blip2VisionModel, EvaEncoder, inside="vision_model."),
    "instructblip_vision_model": _Family(InstructBlipVisionModel, EvaEncoder),
    "instructblip": _Family(InstructBlipVisionModel, EvaEncoder, inside="vision_model."),
}


def load_image_encoder(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    local_files_only: bool = False,
    rule: Mapping[str, Any] | None = None,
    qformer: bool = False,
    name: str | None = None,
) -> ImageEncoder:
    """An image encoder with its processor from a Hub id or a folder; of ImageBind also the released file.

    Of a whole BLIP-2 or InstructBLIP only the vision tower is read, and with ``qformer`` BLIP-2's frozen Q-Former too.
    """
    with loading(source, "image encoder"):
        options = given(revision=revision, local_files_only=local_files_only)
        kind = kind_of(source, options)
        if qformer and kind != "blip-2":
            raise BackboneError(
                f"{source}: qformer=True takes vision tower and Q-Former of a whole BLIP-2 (model type 'blip-2'), this "
                f"is of type {kind!r}; build QFormerEncoder(encoder, qformer) yourself"
            )
        if kind == "imagebind":
            seen = load_joint(source, ["image"], dtype=dtype, options=options, rules={"image": rule or {}}, name=name)
            return cast(ImageEncoder, seen["image"])
        family = _FAMILIES.get(kind)
        if family is None:
            raise BackboneError(
                f"{source}: image encoders of type {kind!r} are not supported; expected one of "
                f"{', '.join([*_FAMILIES, 'imagebind'])}. Build the encoder yourself and pass Backbone(llm=..., "
                "encoders=...)"
            )
        check_rule(family.encoder, rule or {}, source)
        if qformer:
            # This class is all of BLIP-2 but the language model; its own head is not used, and may be missing.
            model = load_weights(Blip2VisionModelWithProjection, source, dtype, options, unused="vision_projection.")
        elif family.inside:
            moved = {f"^{re.escape(family.inside)}": ""}
            model = load_weights(family.model, source, dtype, options | {"key_mapping": moved})
        else:
            model = load_weights(family.model, source, dtype, options)
        load_processor: Any = AutoImageProcessor.from_pretrained
        processor = load_processor(source, trust_remote_code=False, backend="pil", **options)
    encoder = family.encoder(
        model, processor, source=name or source_name(source), revision=commit_of(model), **(rule or {})
    )
    return QFormerEncoder(encoder, QFormer.from_blip2(model)) if qformer else encoder
