"""A frozen language model in 4 or 8 bits, through transformers and bitsandbytes (``pip install 'inlay[quantised]'``).

nf4: Dettmers et al., 2023, https://arxiv.org/abs/2305.14314; int8: Dettmers et al., 2022,
https://arxiv.org/abs/2208.07339. Only the linears of the layers: embeddings, norms and the head stay as they are, and
so does everything of an adapter (projectors, token rows, LoRA).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, get_args

import torch

from inlay.adapters.language.precision import Quantised
from inlay.adapters.loading.pretrained import BackboneError

__all__ = ["check_quantised", "quantised_options"]


def quantised_options(kind: str, dtype: str | torch.dtype) -> dict[str, Any]:
    """Options of ``from_pretrained`` that quantise while weights are read.

    Args:
        kind: ``nf4`` or ``int8``.
        dtype: in which matrix products are taken; ``auto`` is bfloat16 on a GPU, float32 otherwise.

    Raises:
        BackboneError: another kind, or bitsandbytes is not installed.
    """
    check_quantised(kind)
    from transformers import BitsAndBytesConfig

    if isinstance(dtype, str):
        automatic = torch.bfloat16 if torch.cuda.is_available() else torch.float32
        dtype = automatic if dtype == "auto" else getattr(torch, dtype)
    configure: Any = BitsAndBytesConfig
    if kind == "int8":
        config = configure(load_in_8bit=True, llm_int8_skip_modules=["lm_head"])
    else:
        config = configure(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=["lm_head"],
        )
    return {"quantization_config": config, "dtype": dtype}


def check_quantised(kind: str) -> None:
    """See whether it can be done here, before anything is loaded.

    Raises:
        BackboneError: another kind, or bitsandbytes is not installed.
    """
    if kind not in get_args(Quantised):
        raise BackboneError(f"quantise: expected one of {', '.join(get_args(Quantised))}, got {kind!r}")
    if find_spec("bitsandbytes") is None or find_spec("accelerate") is None:
        raise BackboneError(
            f"quantise: {kind} needs bitsandbytes, which is not installed: pip install 'inlay[quantised]'; or leave "
            "quantise out"
        )
