"""Another LoRA for every row of a batch: the rows' matrices are gathered once, then two batched products a layer.

peft's ``adapter_names`` goes through the adapters one after the other in every layer and slices the batch for each.
Here ``A`` ``[rows, width, r]`` and ``B`` ``[rows, r, out]`` are stacked for all rows, however many adapters they are
of, as in Punica (Chen et al., 2023, https://arxiv.org/abs/2310.18547). A smaller rank is padded with zeros; a row
without LoRA is all zeros. For answering only: nothing here is differentiated, and there is no dropout. Only the thread
that asks for it is affected.
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
    """While this lasts, row ``i`` of every batch of this thread goes through the ``i``-th LoRA.

    Args:
        attached: the LoRA whose wrappers are in the LLM; it is used again afterwards.
        rows: one for each row; the same may be given several times. A batch of beams has each row's beams together, as
            in transformers.

    Raises:
        LoraError: the first is not attached, or one of the rows changes other linears, or linears of other sizes.
    """
    for lora in dict.fromkeys(rows):
        for name, size in lora.shapes.items() if lora is not None else ():
            if attached.shapes.get(name) != size:
                raise LoraError(
                    f"one batch for several adapters: {name} is {attached.shapes.get(name) or 'not changed'} in the "
                    f"attached adapter and {size} in another; attach one that changes all of them"
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
