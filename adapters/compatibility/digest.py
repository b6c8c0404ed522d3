"""Digests that identify a backbone's weights and tokenizer.

The weights digest hashes a fixed sample of every parameter, rounded to bfloat16, and ignores names. It is cheap for a
13B model, equal for one checkpoint loaded in float32, float16 or bfloat16, and independent of modules that are renamed
between versions of transformers. (A float32 file loaded as float16 is rounded twice, so its digest can differ; the
backbone then counts as one with other weights, with a warning.)

:func:`exact_digest` reads every bit, for results that are only valid for exactly these weights.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["META_DIGEST", "exact_digest", "tokenizer_digest", "weights_digest"]

SAMPLE = 64
"""Values taken from each parameter, evenly spaced over it."""

META_DIGEST = "sha256:" + "0" * 64
"""The digest of a model without weights (torch's meta device)."""


def weights_digest(model: nn.Module) -> str:
    """``sha256:<64 hex>`` over shapes and sampled values of all parameters.

    Example:
        >>> layer = nn.Linear(4, 3)
        >>> weights_digest(layer) == weights_digest(layer.bfloat16())
        True
    """
    parameters = list(model.parameters())
    if any(parameter.is_meta for parameter in parameters):
        return META_DIGEST
    # Sorted, because the order of parameters is the order of module attributes, which upgrades change.
    hashes = sorted(_parameter_hash(parameter) for parameter in parameters)
    return "sha256:" + hashlib.sha256(b"".join(hashes)).hexdigest()


def _parameter_hash(parameter: Tensor) -> bytes:
    flat = parameter.detach().reshape(-1)
    # The positions are computed on the CPU, because not every device has float64 (MPS).
    picks = torch.linspace(0, flat.numel() - 1, min(SAMPLE, flat.numel()), dtype=torch.float64).long()
    # Adding zero turns -0.0 into 0.0, which compare equal and must hash equal.
    sample = flat[picks.to(flat.device)].to(torch.bfloat16).float().cpu() + 0.0
    return hashlib.sha256(repr(tuple(parameter.shape)).encode() + sample.numpy().tobytes()).digest()


def exact_digest(module: nn.Module) -> str:
    """``sha256:<64 hex>`` over names, dtypes, shapes and all bytes of parameters and buffers; seconds per gigabyte.

    Example:
        >>> layer = nn.Linear(4, 3)
        >>> exact_digest(layer) == exact_digest(layer.bfloat16())
        False
    """
    found = hashlib.sha256()
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return "sha256:" + found.hexdigest()


def tokenizer_digest(tokenizer: Any) -> str:
    """``sha256:<64 hex>`` over the vocabulary (string -> id), the special tokens and a tokenised probe text.

    The probe text detects tokenizers with the same vocabulary that split text differently (merges, prefix space).
    """
    facts = {
        "vocabulary": sorted(tokenizer.get_vocab().items()),
        "special": sorted(
            {str(token): tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens}.items()
        ),
        "probe": tokenizer("A photo, 3 cats:\n déjà vu? ASSISTANT: yes.").input_ids,
    }
    return "sha256:" + hashlib.sha256(json.dumps(facts, ensure_ascii=True).encode()).hexdigest()
