"""The embeddings of a language model's tokens without the rest of its weights.

All that torch needs of a language model that another program runs is its config, its tokenizer, and one matrix. Of the
safetensors files only the one with this matrix is opened.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils.hub import cached_file

from inlay.adapters.loading.files.tokenizer import load_tokenizer
from inlay.adapters.loading.language_part import NAMES_INSIDE, language_part
from inlay.adapters.loading.pretrained import BackboneError, given, loading

__all__ = ["EmbeddingTable", "load_embedding_table"]

_INDEX, _WHOLE = "model.safetensors.index.json", "model.safetensors"


@dataclass(frozen=True)
class EmbeddingTable:
    """The parts of a language model that torch keeps."""

    config: Any
    tokenizer: Any
    table: nn.Module
    """Ids ``[..., T]`` -> embeddings ``[..., T, width]``."""
    generation: GenerationConfig


def load_embedding_table(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    gguf: Path | None = None,
    local_files_only: bool = False,
) -> EmbeddingTable:
    """The embeddings of a decoder-only language model.

    Args:
        source: Hub id or folder, with config.json and tokenizer.
        revision: commit, branch or tag.
        dtype: of the embeddings.
        gguf: a GGUF file of the same model, from which they are read where the source has no safetensors at hand.
        local_files_only: never ask the Hub.

    Raises:
        BackboneError: the files cannot be loaded, or it is no decoder-only language model.
    """
    options = given(revision=revision, local_files_only=local_files_only)
    with loading(source, "language model"):
        config: Any = language_part(AutoConfig.from_pretrained(source, trust_remote_code=False, **options), source)
        if config.is_encoder_decoder or config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise BackboneError(f"{source}: expected a decoder-only language model, got {config.model_type!r}")
        tokenizer = load_tokenizer(source, options)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        table = model.get_input_embeddings()
        place = next(name for name, module in model.named_modules() if module is table)
        weight = _weight(source, f"{place}.weight", options, gguf)
        if weight.shape != table.weight.shape:
            raise BackboneError(
                f"{source}: expected token embeddings {list(table.weight.shape)}, got {list(weight.shape)}; check that "
                "config.json and the weights belong together"
            )
        table.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        if (scale := getattr(table, "scalar_embed_scale", None)) is not None:  # Gemma's, lost on the meta device
            table.embed_scale = torch.tensor(scale)
        generation = GenerationConfig.from_model_config(config)
        if cached_file(source, "generation_config.json", **_quiet(options)) is not None:
            generation = GenerationConfig.from_pretrained(source, **options)
    return EmbeddingTable(config, tokenizer, table, generation)


def _quiet(options: dict[str, Any]) -> dict[str, Any]:
    missing_is_none = {
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_gated_repo": False,
        "_raise_exceptions_for_connection_errors": False,
    }
    return {**options, **missing_is_none}


def _weight(source: str | Path, key: str, options: dict[str, Any], gguf: Path | None) -> Tensor:
    """The matrix, from safetensors on this machine, from the GGUF file, or from the Hub."""
    at_hand = options if gguf is None else {**options, "local_files_only": True}
    files = _files(source, key, at_hand)
    if files is not None:
        path, name = files
        with safe_open(path, framework="pt") as held:
            weight: Tensor = held.get_tensor(name)
        return weight
    if gguf is None:
        raise BackboneError(f"{source}: expected the token embeddings {key} in safetensors files, got none")
    return _from_gguf(gguf)


def _files(source: str | Path, key: str, options: dict[str, Any]) -> tuple[Path, str] | None:
    """The file with a tensor, and its name there; a multimodal model's has a longer one."""
    index = cached_file(source, _INDEX, **_quiet(options))
    if index is not None:
        places: dict[str, str] = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
        name = next((name for name in places if _inside(name) == key), None)
        path = None if name is None else cached_file(source, places[name], **_quiet(options))
        return None if path is None or name is None else (Path(path), name)
    whole = cached_file(source, _WHOLE, **_quiet(options))
    if whole is None:
        return None
    with safe_open(whole, framework="pt") as held:
        name = next((name for name in held.keys() if _inside(name) == key), None)  # noqa: SIM118 - not a mapping
    return None if name is None else (Path(whole), name)


def _inside(name: str) -> str:
    """The name of a multimodal model's tensor in its language model."""
    for pattern, replacement in NAMES_INSIDE.items():
        name, count = re.subn(pattern, replacement, name)
        if count:
            return name
    return name


def _from_gguf(path: Path) -> Tensor:
    import gguf

    found = next((tensor for tensor in gguf.GGUFReader(path).tensors if tensor.name == "token_embd.weight"), None)
    if found is None:
        raise BackboneError(f"{path}: expected a language model with token_embd.weight, got a GGUF file without it")
    return torch.from_numpy(gguf.quants.dequantize(found.data, found.tensor_type).copy())
