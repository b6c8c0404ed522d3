"""The language model without its adapter as a GGUF file, for the families that are LLaMA with other names.

The file has no vocabulary (``tokenizer.ggml.model`` is ``no_vocab``): ``--runtime llamacpp`` tokenises with the model's
own tokenizer and hands embeddings over. For llama-server or Ollama make the file with llama.cpp's own
``convert_hf_to_gguf.py``, which writes the vocabulary too; ``lora.gguf`` fits both.
"""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from inlay.adapters.export.gguf.architectures import (
    Architecture,
    architecture_of,
    head_counts,
    reordered,
    tensor_name,
)
from inlay.adapters.export.gguf.gguf_file import Array, Entry, GgufContent, GgufError, Kind, Value, as_array, kind_of

__all__ = ["base_content"]

_FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7}
_TIED = "lm_head.weight"


def base_content(model: PreTrainedModel, kind: Kind = "f16", name: str = "") -> GgufContent:
    """The content of ``base.gguf``.

    Args:
        model: of transformers, with weights in floating point; an attached LoRA is left out.
        kind: of the matrices; vectors are always float32.
        name: of the model, for people.

    Raises:
        GgufError: a family, a kind of position embedding or a tensor that cannot be written here.
    """
    if kind not in get_args(Kind):
        raise GgufError(f"base: expected one of {', '.join(get_args(Kind))}, got {kind!r}")
    config: Any = model.config
    architecture = architecture_of(str(config.model_type))
    if not architecture.plain:
        raise GgufError(
            f"base: inlay writes the language model itself only for LLaMA, Mistral, Qwen 2 and Qwen 3, got "
            f"{config.model_type!r}; make the file with llama.cpp: python convert_hf_to_gguf.py MODEL --outfile "
            "base.gguf. The LoRA alone can be exported without --base"
        )
    held = {key.replace(".base_layer.", "."): tensor for key, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        held.pop(_TIED, None)  # llama.cpp takes the token embeddings in its place
    tensors: dict[str, Entry] = {}
    for key, tensor in held.items():
        module, _, leaf = key.rpartition(".")
        shape = tuple(tensor.shape)
        load = partial(_rows, module, tensor, config, architecture)
        tensors[f"{tensor_name(module)}.{leaf}"] = Entry(shape, kind_of(shape, kind), load)
    if (factors := _rope_factors(config)) is not None:
        tensors["rope_freqs.weight"] = Entry(factors.shape, "f32", lambda: factors)
    header: dict[str, Value] = {"general.type": "model", "general.name": name or "inlay"}
    header |= {"general.file_type": _FILE_TYPES[kind], **_sizes(config, architecture)}
    return GgufContent(architecture.name, header, tensors)


def _rows(module: str, tensor: Tensor, config: Any, architecture: Architecture) -> Array:
    return reordered(module, as_array(tensor), config, architecture)


def _sizes(config: Any, architecture: Architecture) -> dict[str, Any]:
    """Header values in which a model of this architecture differs from another one."""
    heads, key_heads = head_counts(config)
    head = _head_width(config)
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    values = {
        "vocab_size": int(config.vocab_size),
        "block_count": int(config.num_hidden_layers),
        # llama.cpp runs these architectures without a window, which is the same up to its length.
        "context_length": min(int(config.max_position_embeddings), int(window or config.max_position_embeddings)),
        "embedding_length": int(config.hidden_size),
        "feed_forward_length": int(config.intermediate_size),
        "attention.head_count": heads,
        "attention.head_count_kv": key_heads,
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": head,
        "rope.freq_base": float(config.rope_parameters["rope_theta"]),
    }
    return {f"{architecture.name}.{key}": value for key, value in values.items()} | {"tokenizer.ggml.model": "no_vocab"}


def _head_width(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _rope_factors(config: Any) -> Array | None:
    """Divisors of the rotary frequencies in llama.cpp; None for plain rotary embeddings."""
    kind = config.rope_parameters.get("rope_type", "default")
    if kind == "default":
        return None
    if kind not in ("linear", "llama3"):
        raise GgufError(
            f"base: rotary embeddings of type {kind!r} are not written here (default, linear and llama3 are); make the "
            "file with llama.cpp's convert_hf_to_gguf.py"
        )
    scaled, _ = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    width, theta = _head_width(config), float(config.rope_parameters["rope_theta"])
    plain = 1.0 / theta ** (torch.arange(0, width, 2).float() / width)
    return as_array(plain / scaled)
