"""SmolLM2-135M-Instruct (Ben Allal et al., 2025, https://arxiv.org/abs/2502.02737) as a folder of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inlay.adapters.loading.language import load_language

__all__ = ["save_language"]


def save_language(gguf: Path, folder: Path) -> None:
    """Save a GGUF language model as dequantised float32 safetensors with its tokenizer and chat template."""
    language = load_language(gguf, dtype="float32")
    model: Any = language.model
    # transformers does not save a model that was read from GGUF, even if all weights were dequantised.
    model.hf_quantizer = None
    del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer: Any = language.tokenizer
    tokenizer.save_pretrained(folder)
