"""Writing the language model of a whole LLaVA checkpoint to a separate folder that transformers and inlay can load.

LLaVA trains its LLM together with the projector, and only its own code can load the result. The tensors already have
the names of the bare LLM; in ``config.json`` the model type is replaced and the settings of the vision side are
removed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from inlay.adapters.convert.source import ConvertError, Source

__all__ = ["write_language"]

_FAMILIES = {
    "llava_llama": ("llama", "LlamaForCausalLM"),
    "llava": ("llama", "LlamaForCausalLM"),
    "llava_mistral": ("mistral", "MistralForCausalLM"),
    "llava_qwen": ("qwen2", "Qwen2ForCausalLM"),
}
"""Model type in LLaVA's config -> model type and class of its LLM."""
_OF_VISION = ("mm_", "image_", "tune_mm_", "freeze_mm_", "use_mm_", "unfreeze_mm_", "vision_", "auto_map", "_name_or")
_TOKENIZER = (
    *("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "generation_config.json"),
)
_SHARD_BYTES = 4 << 30


def write_language(source: Source, tensors: Mapping[str, Tensor], folder: Path) -> Path:
    """Write config, tokenizer and weights; one shard is in memory at a time.

    Args:
        source: the whole checkpoint.
        tensors: name in the LLM -> tensor, read lazily.
        folder: a new folder.

    Raises:
        ConvertError: the checkpoint has no language model, or one of an unknown family, or the folder exists.
    """
    kind = source.config.get("model_type")
    if kind not in _FAMILIES or not tensors:
        raise ConvertError(
            f"{source}: expected a whole checkpoint of LLaVA ({', '.join(_FAMILIES)}) with its language model, got the "
            f"model type {kind!r} and {len(tensors)} tensors of a language model"
        )
    if folder.exists():
        raise ConvertError(f"{folder}: already exists; choose another folder for the language model")
    folder.mkdir(parents=True)
    family, name = _FAMILIES[kind]
    config = {key: value for key, value in source.config.items() if not key.startswith(_OF_VISION)}
    rows = len(tensors["model.embed_tokens.weight"]) if "model.embed_tokens.weight" in tensors else None
    config |= {"model_type": family, "architectures": [name], **({} if rows is None else {"vocab_size": rows})}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for file in _TOKENIZER:
        if (path := source.has(file)) is not None:
            shutil.copyfile(path, folder / file)
    _write_shards(tensors, folder)
    return folder


def _write_shards(tensors: Mapping[str, Tensor], folder: Path) -> None:
    places: dict[str, str] = {}
    held: dict[str, Tensor] = {}
    total = 0

    def flush() -> None:
        file = f"model-{len(set(places.values())) + 1:05d}.safetensors"
        save_file(held, folder / file, {"format": "pt"})
        places.update(dict.fromkeys(held, file))
        held.clear()

    for name in tensors:
        tensor = tensors[name].contiguous().clone()
        if held and sum(other.nbytes for other in held.values()) + tensor.nbytes > _SHARD_BYTES:
            flush()
        held[name] = tensor if tensor.dtype != torch.float64 else tensor.float()
        total += tensor.nbytes
    flush()
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index) + "\n", encoding="utf-8")
