"""Necessary FLOPs, and their share of a machine's matrix rate (necessary-FLOP utilisation, NFU).

``sum over samples of 2 P T (1 + b) + (1 + 2 b) attention + 4 H S + 6 P_adapter tokens_through_it``: ``P`` parameters of
the LLM's blocks, ``T`` tokens, ``H`` parameters of its head, ``S`` labelled tokens, ``b`` = 1 if a gradient passes
through the LLM. Padding, recomputation, logits without a label and an encoder with constant features are not counted,
so a side that computes them has a lower figure for the same samples per second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

__all__ = ["attention", "head_size", "llm_blocks", "necessary", "utilisation"]


def llm_blocks(model: Any) -> int:
    """Number of parameters in the linears of a frozen LLM's layers, without head and LoRA."""
    head = model.get_output_embeddings()
    return sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and "lora_" not in name
    )


def head_size(model: Any) -> int:
    """Number of parameters in the head."""
    return int(model.get_output_embeddings().weight.numel())


def attention(tokens: int, width: int, layers: int) -> int:
    """FLOPs of the matrix products of causal attention for one sample, forward.

    Example:
        >>> attention(2048, 4096, 32) / 1e12
        1.099511627776
    """
    return 2 * tokens * tokens * width * layers


def necessary(
    *,
    blocks: int,
    head: int,
    width: int,
    layers: int,
    lengths: Sequence[int],
    labelled: Sequence[int],
    adapters: Sequence[tuple[int, int]],
    through: bool = True,
) -> int:
    """FLOPs of one pass over samples.

    Args:
        blocks: ``P``.
        head: ``H``.
        width: the width of the LLM.
        layers: the number of layers of the LLM.
        lengths: ``T`` of each sample.
        labelled: ``S`` of each.
        adapters: parameters of each trained part, and the number of tokens through it over all samples.
        through: whether a gradient passes through the LLM.

    Example:
        LLaVA 1.5's first stage with 597 tokens, 20 labelled (16.19 TFLOP with 0.365 of the encoder, which is constant):

        >>> round(necessary(blocks=6_476_005_376, head=131_072_000, width=4096, layers=32, lengths=[597],
        ...     labelled=[20], adapters=[(20_979_712, 576)]) / 1e12, 2)
        15.83
    """
    back = int(through)
    llm = sum(2 * blocks * tokens * (1 + back) for tokens in lengths)
    own = sum((1 + 2 * back) * attention(tokens, width, layers) for tokens in lengths)
    scores = sum(2 * head * (1 + back) * rows for rows in labelled)
    return llm + own + scores + sum(6 * size * tokens for size, tokens in adapters)


def utilisation(flops: int, seconds: float, rates: dict[str, float | None]) -> dict[str, float | None]:
    """Share of each measured rate; None if a rate is missing."""
    return {name: None if rate is None else flops / seconds / rate for name, rate in rates.items()}
