"""A LoRA as a GGUF file, which llama.cpp adds to a base model of any quantisation."""

from __future__ import annotations

from typing import Any

from inlay.adapters.export.gguf.architectures import architecture_of, reordered, tensor_name
from inlay.adapters.export.gguf.gguf_file import Entry, GgufContent, Kind, Value, as_array
from inlay.adapters.llm_parts.lora import LoraPart

__all__ = ["lora_content"]


def lora_content(lora: LoraPart, config: Any, name: str = "", kind: Kind = "f32") -> GgufContent:
    """The content of ``lora.gguf``.

    Args:
        lora: the matrices ``A`` ``[r, in]`` and ``B`` ``[out, r]`` of each linear.
        config: of the language model, as transformers has it.
        name: of the adapter, for people.
        kind: of the matrices.

    Raises:
        GgufError: a family or a linear that llama.cpp does not have.
    """
    architecture = architecture_of(str(config.model_type))
    tensors: dict[str, Entry] = {}
    for target in lora.targets:
        down, up = (as_array(matrix) for matrix in lora.matrices(target))
        up = reordered(target, up, config, architecture)
        stored = f"{tensor_name(target)}.weight"
        tensors[f"{stored}.lora_a"] = Entry(down.shape, kind, lambda down=down: down)  # type: ignore[misc]
        tensors[f"{stored}.lora_b"] = Entry(up.shape, kind, lambda up=up: up)  # type: ignore[misc]
    header: dict[str, Value] = {
        "general.type": "adapter",
        "general.name": name or "inlay",
        "adapter.type": "lora",
        "adapter.lora.alpha": float(lora.config.alpha),
    }
    return GgufContent(architecture.name, header, tensors)
