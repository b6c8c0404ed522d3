"""A separate LoRA for each row of a batch: matrices are stacked once, followed by two batched products per linear.

peft's ``adapter_names`` loops over the adapters in every layer and slices the batch for each. Here ``A``
``[rows, width, r]`` and ``B`` ``[rows, r, out]`` are stacked for all rows, for any number of adapters, as in Punica
(Chen et al., 2023, https://arxiv.org/abs/2310.18547). A smaller rank is padded with zeros; a row without LoRA is all
zeros. For inference only: there are no gradients and no dropout. Only the calling thread is
affected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from inlay.adapters.llm_parts.lora import LoraError, LoraPart
from inlay.adapters.llm_parts.lora_rows import RowMatrices

__all__ = ["mixed"]


@contextmanager
def mixed(attached: LoraPart, rows: Sequence[LoraPart | None]) -> Iterator[None]:
    """A context in which row ``i`` of every batch in this thread uses the ``i``-th LoRA.

    Args:
        attached: the LoRA whose wrappers are in the LLM; it is restored afterwards.
        rows: one LoRA for each row; one may be given several times. In beam search the beams of a row are consecutive,
            as in transformers.

    Raises:
        LoraError: ``attached`` is not attached, or a row has LoRA on linears where it has none, or of other sizes.
    """
    for lora in dict.fromkeys(rows):
        for name, size in lora.shapes.items() if lora is not None else ():
            if attached.shapes.get(name) != size:
                raise LoraError(
                    f"one batch for several adapters: LoRA of {name} is {attached.shapes.get(name) or 'absent'} in the "
                    f"attached adapter and {size} in another; attach one that has all of these"
                )
    like = next(attached.parameters())
    states = attached.rows
    before = states.replace({target: _stacked(target, sizes, rows, like) for target, sizes in attached.shapes.items()})
    try:
        yield
    finally:
        states.replace(before)


@torch.no_grad()
def _stacked(target: str, sizes: tuple[int, int], rows: Sequence[LoraPart | None], like: Tensor) -> RowMatrices:
    rank = max((lora.config.r for lora in rows if lora is not None and target in lora.shapes), default=1)
    downs, ups = like.new_zeros(len(rows), sizes[0], rank), like.new_zeros(len(rows), rank, sizes[1])
    for index, lora in enumerate(rows):
        if lora is not None and target in lora.shapes:
            down, up = lora.matrices(target)
            downs[index, :, : lora.config.r] = down.t()
            ups[index, : lora.config.r] = up.t() * lora.config.scale
    return RowMatrices(downs, ups)
