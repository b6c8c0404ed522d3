"""A frozen language model in 4 or 8 bits, through transformers and bitsandbytes (``pip install 'inlay[quantised]'``).

nf4: Dettmers et al., 2023, https://arxiv.org/abs/2305.14314; int8: Dettmers et al., 2022,
https://arxiv.org/abs/2208.07339. Only the linear layers inside the transformer are quantised: embeddings, norms and the
LM head keep their dtype, and so do all parts of an adapter (projectors, token rows, LoRA).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import torch

from inlay.adapters.language.precision import Quantised
from inlay.adapters.loading.dtype import chosen_dtype
from inlay.adapters.loading.pretrained import BackboneError

__all__ = ["check_quantised", "check_stored", "quantised_options"]


def quantised_options(kind: str, dtype: str | torch.dtype, device: str | torch.device | None = None) -> dict[str, Any]:
    """Options of ``from_pretrained`` that quantise the weights while they are read.

    Args:
        kind: ``nf4`` or ``int8``.
        dtype: the dtype of matrix products; ``auto`` is bfloat16 on a GPU that has it, float32 otherwise.
        device: where the model will run; the CPU if not given.

    Raises:
        BackboneError: another kind, or bitsandbytes is not installed.
    """
    check_quantised(kind)
    from transformers import BitsAndBytesConfig

    computed = chosen_dtype(dtype, device)
    if not isinstance(computed, torch.dtype):
        computed = torch.float32
    configure: Any = BitsAndBytesConfig
    if kind == "int8":
        config = configure(load_in_8bit=True, llm_int8_skip_modules=["lm_head"])
    else:
        config = configure(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=computed,
            llm_int8_skip_modules=["lm_head"],
        )
    return {"quantization_config": config, "dtype": computed}


def check_quantised(kind: str) -> None:
    """Check that a model can be quantised here, before anything is loaded.

    Raises:
        BackboneError: another kind, or bitsandbytes is not installed.
    """
    if kind not in get_args(Quantised):
        raise BackboneError(f"quantise: expected one of {', '.join(get_args(Quantised))}, got {kind!r}")
    if find_spec("bitsandbytes") is None or find_spec("accelerate") is None:
        raise BackboneError(
            f"quantise: {kind} needs bitsandbytes, which is not installed: pip install 'inlay[quantised]'; or remove "
            "quantise"
        )


def check_stored(config: Any, quantise: str | None, source: str | Path) -> None:
    """Check the ``quantization_config`` of a config.json, which describes weights that were saved quantised.

    Args:
        config: the model's configuration in transformers.
        quantise: the quantisation that the user asks for.
        source: the source, for the error.

    Raises:
        BackboneError: a method other than bitsandbytes' nf4 and int8, bitsandbytes is not installed, or ``quantise``
            asks for something else.
    """
    stored = getattr(config, "quantization_config", None)
    if stored is None:
        return
    values = stored if isinstance(stored, dict) else stored.to_dict() if hasattr(stored, "to_dict") else {}
    advice = "use the checkpoint that is not quantised, with quantise='nf4' or 'int8' if it is too large"
    method = values.get("quant_method", "bitsandbytes" if "load_in_4bit" in values or "load_in_8bit" in values else "?")
    if str(getattr(method, "value", method)) != "bitsandbytes":
        raise BackboneError(
            f"{source}: quantization_config of config.json: weights quantised with {method} are not supported; {advice}"
        )
    if values.get("load_in_8bit"):
        kind = "int8"
    elif values.get("load_in_4bit") and values.get("bnb_4bit_quant_type") == "nf4":
        kind = "nf4"
    else:
        found = values.get("bnb_4bit_quant_type", "neither load_in_4bit nor load_in_8bit")
        raise BackboneError(
            f"{source}: quantization_config of config.json: expected bitsandbytes nf4 or int8, got {found}; {advice}"
        )
    if quantise not in (None, kind):
        raise BackboneError(
            f"{source}: quantise: these weights are stored in {kind}, {quantise} was asked for; {advice}"
        )
    if find_spec("bitsandbytes") is None or find_spec("accelerate") is None:
        raise BackboneError(
            f"{source}: these weights are stored in {kind} and need bitsandbytes, which is not installed: pip install "
            f"'inlay[quantised]'; or {advice}"
        )
