"""Another LoRA for every row of a batch: the rows' matrices are gathered once, then two batched products a layer.

peft's ``adapter_names`` goes through the adapters one after the other in every layer and slices the batch for each.
Here ``A`` ``[rows, width, r]`` and ``B`` ``[rows, r, out]`` lie side by side, however many adapters they are of, as in
Punica (Chen et al., 2023, https://arxiv.org/abs/2310.18547). A smaller rank is filled up with zeros; a row without LoRA
is all zeros. For answering only: nothing here is differentiated, and there is no dropout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from inlay.adapters.language.precision import computed_in
from inlay.adapters.llm_parts.lora import LoraError, LoraPart

__all__ = ["mixed"]


@contextmanager
def mixed(attached: LoraPart, rows: Sequence[LoraPart | None]) -> Iterator[None]:
    """While this lasts, row ``i`` of every batch goes through the ``i``-th LoRA.

    Args:
        attached: whose layers stand in the LLM; it comes back afterwards.
        rows: one a row; the same may come again. A batch of beams has each row's beams together, as transformers has.

    Raises:
        LoraError: one that changes other linears than the attached one, or of other sizes.
    """
    for lora in dict.fromkeys(rows):
        if lora is not None and (
            strange := [name for name, size in lora.shapes.items() if _size(attached, name) != size]
        ):
            raise LoraError(
                f"one batch for several adapters: {strange[0]} is {_size(attached, strange[0]) or 'not changed'} in "
                f"the attached adapter and {lora.shapes[strange[0]]} in another; attach one that changes all of them"
            )
    layers = attached.layers
    before = {target: layer.__dict__.get("forward") for target, layer in layers.items()}
    try:
        for target, layer in layers.items():
            downs, ups = _stacked(target, attached.shapes[target], rows, next(attached.parameters()))
            layer.__dict__["forward"] = partial(_call, layer.base_layer, downs, ups)
        yield
    finally:
        for target, layer in layers.items():
            layer.__dict__.pop("forward", None)
            if (call := before[target]) is not None:
                layer.__dict__["forward"] = call


def _size(lora: LoraPart, target: str) -> tuple[int, int] | None:
    return lora.shapes.get(target)


@torch.no_grad()
def _stacked(
    target: str, shape: tuple[int, int], rows: Sequence[LoraPart | None], like: Tensor
) -> tuple[Tensor, Tensor]:
    """``A`` ``[rows, width, r]`` and ``B`` times its scale ``[rows, r, out]``."""
    rank = max((lora.config.r for lora in rows if lora is not None and target in lora.shapes), default=1)
    downs, ups = like.new_zeros(len(rows), shape[0], rank), like.new_zeros(len(rows), rank, shape[1])
    for index, lora in enumerate(rows):
        if lora is not None and target in lora.shapes:
            down, up = lora.matrices(target)
            downs[index, :, : lora.config.r] = down.t()
            ups[index, : lora.config.r] = up.t() * (lora.config.alpha / lora.config.r)
    return downs, ups


def _call(base: nn.Module, downs: Tensor, ups: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """In the place of a layer's ``forward``: ``x`` is ``[rows * beams, T, width]``, or flat over its positions."""
    output: Tensor = base(x, *args, **kwargs)
    kind = computed_in(x)
    own = x.reshape(len(downs), -1, x.shape[-1]).to(kind)
    change = torch.bmm(torch.bmm(own, downs.to(kind)), ups.to(kind))
    return output + change.view(output.shape).to(output.dtype)
