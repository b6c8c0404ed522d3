"""The backbone: the frozen models together, one LLM and an encoder per input modality."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    CLIPVisionModel,
    ViTModel,
)
from transformers.utils import logging

from inlay.adapters.encoders import ClipEncoder, VisionEncoder, VitEncoder
from inlay.adapters.language import LanguageModel
from inlay.adapters.messages import Modality
from inlay.adapters.prompt import PromptTokenizer
from inlay.hub.errors import InlayError
from inlay.hub.manifest import PortSpec

__all__ = ["PROMPT_PORT", "Backbone", "BackboneError"]

PROMPT_PORT = "prompt"
"""Name of the port at which projectors that read get their tokens."""


class BackboneError(InlayError):
    """A backbone cannot be put together."""


class Backbone(nn.Module):
    """One frozen LLM and frozen encoders.

    Args:
        llm: the language model.
        encoders: modality -> encoder.
        prompt_tokenizer: for projectors that read the words of a medium's turn.

    Example:
        ``Backbone(llm=LanguageModel(hf_llm, tokenizer), encoders={"image": ClipEncoder(hf_vision, processor)})``
    """

    def __init__(
        self,
        llm: LanguageModel,
        encoders: Mapping[Modality, VisionEncoder] | None = None,
        prompt_tokenizer: PromptTokenizer | None = None,
    ) -> None:
        super().__init__()
        self.llm = llm
        self.prompt_tokenizer = prompt_tokenizer
        self.encoders = nn.ModuleDict({str(name): encoder for name, encoder in (encoders or {}).items()})
        self.attached: str | None = None
        """Name of the adapter that is attached, if one is."""

    @classmethod
    def from_pretrained(
        cls,
        llm: str | Path,
        image: str | Path | None = None,
        *,
        prompt: str | Path | None = None,
        dtype: str | torch.dtype = "auto",
        device: str | torch.device | None = None,
        layer: int | None = None,
        class_token: str | None = None,
        revisions: Mapping[str, str] | None = None,
        local_files_only: bool = False,
    ) -> Backbone:
        """Load from Hub ids or folders in the standard transformers layout. No code from a repository is run.

        Args:
            llm: Hub id or folder of a ``*ForCausalLM`` or an encoder-decoder (T5) with its tokenizer.
            image: Hub id or folder of a CLIP or ViT model with its image processor.
            prompt: Hub id or folder of the tokenizer for projectors that read, such as ``bert-base-uncased``.
            dtype: ``"bfloat16"``, ``torch.float32``, ...; ``"auto"`` keeps what is on disk.
            device: where to put the models.
            layer: hidden states of the encoder that are the features; the family's default if not given.
            class_token: ``"keep"`` or ``"drop"``; the family's default if not given.
            revisions: ``{"llm": ..., "image": ..., "prompt": ...}``, commits, branches or tags.
            local_files_only: never ask the Hub.

        Raises:
            BackboneError: nothing there that can be loaded, or a family that is not supported.
        """
        chosen = dict(revisions or {})
        kind = _dtype(dtype)
        language = load_language(llm, revision=chosen.get("llm"), dtype=kind, local_files_only=local_files_only)
        encoders: dict[Modality, VisionEncoder] = {}
        if image is not None:
            rule = {"layer": layer, "class_token": class_token}
            rule = {key: value for key, value in rule.items() if value is not None}
            encoders["image"] = load_image_encoder(
                image, revision=chosen.get("image"), rule=rule, dtype=kind, local_files_only=local_files_only
            )
        prompter = None
        if prompt is not None:
            prompter = load_prompt_tokenizer(
                prompt, revision=chosen.get(PROMPT_PORT), local_files_only=local_files_only
            )
        backbone = cls(language, encoders, prompter)
        return backbone if device is None else backbone.to(device)

    def encoder(self, modality: str) -> VisionEncoder:
        """The encoder of a modality.

        Raises:
            BackboneError: there is none.
        """
        found = dict(self.encoders.items()).get(modality)
        if not isinstance(found, VisionEncoder):
            raise BackboneError(
                f"this backbone has no encoder for {modality!r}; it has: {', '.join(self.encoders) or 'none'}"
            )
        return found

    def prompter(self) -> PromptTokenizer:
        """The tokenizer of projectors that read.

        Raises:
            BackboneError: there is none.
        """
        if self.prompt_tokenizer is None:
            raise BackboneError(
                "this adapter's projector reads the words of a medium's turn, and this backbone has no tokenizer for "
                "them; give one: Backbone(..., prompt_tokenizer=PromptTokenizer(tokenizer)) or "
                "Backbone.from_pretrained(..., prompt='bert-base-uncased')"
            )
        return self.prompt_tokenizer

    @property
    def ports(self) -> dict[str, PortSpec]:
        """Every port by name: ``llm``, the modalities, and ``prompt`` where there is a tokenizer for it."""
        reading = {} if self.prompt_tokenizer is None else {PROMPT_PORT: self.prompt_tokenizer.port}
        return {"llm": self.llm.port} | {name: self.encoder(name).port for name in self.encoders} | reading

    @property
    def device(self) -> torch.device:
        """Where the LLM is."""
        return self.llm.device

    def train(self, mode: bool = True) -> Backbone:
        """Frozen means eval mode, whatever is asked for."""
        return super().train(False)


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


def load_image_encoder(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    local_files_only: bool = False,
    rule: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> VisionEncoder:
    """An image encoder with its processor from a Hub id or a folder."""
    with _loading(source, "image encoder"):
        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        options = {key: value for key, value in options.items() if value is not None}
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
        if config.model_type not in _FAMILIES:
            raise BackboneError(
                f"{source}: image encoders of type {config.model_type!r} are not supported; expected one of "
                f"{', '.join(_FAMILIES)}. Build the encoder yourself and pass Backbone(llm=..., encoders=...)"
            )
        model_type, encoder = _FAMILIES[config.model_type]
        model = _weights(model_type, source, dtype, options)
        load_processor: Any = AutoImageProcessor.from_pretrained
        processor = load_processor(source, trust_remote_code=False, backend="pil", **options)
    return encoder(model, processor, source=name or _source_name(source), revision=_commit(model), **(rule or {}))


_FAMILIES: dict[str, tuple[Any, Callable[..., VisionEncoder]]] = {
    "clip": (CLIPVisionModel, ClipEncoder),
    "clip_vision_model": (CLIPVisionModel, ClipEncoder),
    "vit": (ViTModel, VitEncoder),
}


def _weights(kind: Any, source: str | Path, dtype: str | torch.dtype, options: Mapping[str, Any]) -> Any:
    """Load weights; a tensor that the model needs and the file lacks is an error.

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
    if lacking := sorted({*map(str, found["missing_keys"]), *map(str, found["mismatched_keys"])}):
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


def _dtype(dtype: str | torch.dtype) -> str | torch.dtype:
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
