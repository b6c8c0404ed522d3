"""Loading the parts of a backbone from Hub ids or folders in the standard transformers layout.

No code from a repository is run, nothing but safetensors is read, and a tensor that a model needs and the file lacks is
an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from transformers.utils import logging

from inlay.adapters.encoders import (
    ClipEncoder,
    EvaEncoder,
    ImageEncoder,
    QFormerEncoder,
    VisionEncoder,
    VitEncoder,
)
from inlay.adapters.inputs.qformer import QFormer
from inlay.adapters.language import LanguageModel
from inlay.adapters.prompt import PromptTokenizer
from inlay.hub.errors import InlayError

__all__ = ["BackboneError", "chosen_dtype", "load_image_encoder", "load_language", "load_prompt_tokenizer"]


class BackboneError(InlayError):
    """A backbone cannot be put together."""


def load_language(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    local_files_only: bool = False,
    name: str | None = None,
) -> LanguageModel:
    """A language model with its tokenizer from a Hub id or a folder; ``name`` replaces a folder's name in bundles."""
    with _loading(source, "language model"):
        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        options = {key: value for key, value in options.items() if value is not None}
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = _weights(kind, source, dtype, options)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
    return LanguageModel(model, tokenizer, source=name or _source_name(source), revision=_commit(model))


def load_prompt_tokenizer(
    source: str | Path,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    name: str | None = None,
) -> PromptTokenizer:
    """The tokenizer of projectors that read, from a Hub id or a folder; ``revision`` is stored if it is a commit."""
    with _loading(source, "tokenizer"):
        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        options = {key: value for key, value in options.items() if value is not None}
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
    commit = revision if revision is not None and re.fullmatch("[0-9a-f]{40}", revision) else None
    return PromptTokenizer(tokenizer, source=name or _source_name(source), revision=commit)


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
    """An image encoder with its processor from a Hub id or a folder.

    Of a whole BLIP-2 or InstructBLIP only the vision tower is read, and with ``qformer`` BLIP-2's frozen Q-Former too.
    """
    with _loading(source, "image encoder"):
        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        options = {key: value for key, value in options.items() if value is not None}
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
        family = _FAMILIES.get(config.model_type)
        if family is None:
            raise BackboneError(
                f"{source}: image encoders of type {config.model_type!r} are not supported; expected one of "
                f"{', '.join(_FAMILIES)}. Build the encoder yourself and pass Backbone(llm=..., encoders=...)"
            )
        if qformer and config.model_type != "blip-2":
            raise BackboneError(
                f"{source}: qformer=True takes vision tower and Q-Former of a whole BLIP-2 (model type 'blip-2'), this "
                f"is of type {config.model_type!r}; build QFormerEncoder(encoder, qformer) yourself"
            )
        if qformer:
            # This class is all of BLIP-2 but the language model; its own head is not used, and may be missing.
            model = _weights(Blip2VisionModelWithProjection, source, dtype, options, unused="vision_projection.")
        elif family.inside:
            moved = {f"^{re.escape(family.inside)}": ""}
            model = _weights(family.model, source, dtype, options | {"key_mapping": moved})
        else:
            model = _weights(family.model, source, dtype, options)
        load_processor: Any = AutoImageProcessor.from_pretrained
        processor = load_processor(source, trust_remote_code=False, backend="pil", **options)
    encoder = family.encoder(
        model, processor, source=name or _source_name(source), revision=_commit(model), **(rule or {})
    )
    return QFormerEncoder(encoder, QFormer.from_blip2(model)) if qformer else encoder


def _weights(
    kind: Any, source: str | Path, dtype: str | torch.dtype, options: Mapping[str, Any], unused: str | None = None
) -> Any:
    """Load weights; a tensor that is needed and missing is an error, unless its name starts with ``unused``.

    What the file has beyond that is not reported: a CLIP vision tower is always loaded from a file with two towers.
    """
    console: Any = logging
    noise, bars = console.get_verbosity(), console.is_progress_bar_enabled()
    console.set_verbosity_error()
    if Path(source).is_dir():
        console.disable_progress_bar()
    try:
        model, found = kind.from_pretrained(
            source, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **options
        )
    finally:
        console.set_verbosity(noise)
        if bars:
            console.enable_progress_bar()
    lacking = sorted({*map(str, found["missing_keys"]), *map(str, found["mismatched_keys"])})
    if lacking := [name for name in lacking if unused is None or not name.startswith(unused)]:
        raise BackboneError(
            f"{source}: {len(lacking)} tensors are missing or of another shape: {', '.join(lacking[:5])}; they would "
            "be left at random values. Get the files again, or check that they belong to this config.json"
        )
    return model


class _loading:  # noqa: N801 - reads as a statement
    """Turn the many errors of loading into one that names what was asked for."""

    def __init__(self, source: str | Path, what: str) -> None:
        self.source, self.what = source, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, ValueError, KeyError)):
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise BackboneError(
                f"{self.source}: no {self.what} could be loaded: {reason} (expected a Hub id or a folder with "
                "config.json and safetensors weights)"
            ) from error


def chosen_dtype(dtype: str | torch.dtype) -> str | torch.dtype:
    """A data type by its name; ``"auto"`` stays what it is.

    Raises:
        BackboneError: no such data type.
    """
    if isinstance(dtype, str) and dtype != "auto":
        found = getattr(torch, dtype, None)
        if not isinstance(found, torch.dtype):
            raise BackboneError(f"dtype: expected 'auto', 'float32', 'bfloat16' or 'float16', got {dtype!r}")
        return found
    return dtype


def _source_name(source: str | Path) -> str:
    """A Hub id as it is; of a folder only its last name: a bundle must not carry paths of a machine."""
    return Path(source).resolve().name if Path(source).exists() else str(source)


def _commit(model: Any) -> str | None:
    commit = getattr(model.config, "_commit_hash", None)
    return commit if isinstance(commit, str) and re.fullmatch("[0-9a-f]{40}", commit) else None
