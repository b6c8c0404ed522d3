"""The memory that a stage will take, part by part, before its first step.

Weights, gradients and AdamW's moments are counted. Activations are not guessed by a formula for each family: the
longest sample goes through the model once, what autograd keeps of it is counted, and a batch of such samples keeps as
many times that. It is the worst batch, so a stage of mixed lengths stays below it.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from inlay.adapters.core.batch import Batch
from inlay.adapters.language.cross_entropy import CHUNK_BYTES

__all__ = ["MemoryPlan", "head_bytes", "kept_bytes", "peak_bytes"]

MIB = 1 << 20
COPIES = 2
"""Of a chunk of scores, while its loss is taken."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Bytes on the device that trains, in one process."""

    weights: int
    """Frozen models and adapter, held already."""
    features: int
    """Cached features, held already in the memory of the machine."""
    gradients: int
    optimizer: int
    """Two moments of every number that trains."""
    activations: int
    """What autograd keeps of the largest batch."""
    passing: int
    """What comes and goes in the layer that is computed: gradients of what it keeps, and results that nobody keeps."""
    head: int
    """Scores of one chunk of rows."""
    available: int
    """Free before the first step."""

    @property
    def to_come(self) -> int:
        """What training adds to what is held already."""
        return self.gradients + self.optimizer + self.activations + self.passing + self.head

    @property
    def fits(self) -> bool:
        """Whether that is free."""
        return self.to_come <= self.available

    def lines(self) -> str:
        """A table for the user."""
        rows = {**asdict(self), "to come": self.to_come}
        rows["available"] = rows.pop("available")
        return "memory in MiB: " + ", ".join(f"{name} {size / MIB:,.0f}" for name, size in rows.items())


class kept_bytes:  # noqa: N801 - reads as a statement
    """While this lasts, counts what autograd keeps, each piece of memory once; parameters and buffers are not counted.

    Args:
        modules: whose parameters and buffers are there anyway.

    Example:
        >>> x = torch.ones(8, requires_grad=True)
        >>> with kept_bytes([]) as kept:
        ...     y = x.exp()
        >>> kept.total
        32
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        own = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
        self.held = {tensor.untyped_storage().data_ptr() for tensor in own}
        self.total = 0
        self._hooks: Any = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def __enter__(self) -> Self:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.held:
            self.held.add(storage.data_ptr())
            self.total += storage.nbytes()
        return tensor


def head_bytes(batch: Batch, vocabulary: int, rows: int) -> int:
    """Scores of one chunk, for a batch of so many samples like this one."""
    labelled = rows * int((batch.labels >= 0).sum() if batch.target is None else (batch.target >= 0).sum())
    return COPIES * min(CHUNK_BYTES, 4 * vocabulary * max(1, labelled))


def peak_bytes(device: torch.device) -> int:
    """The most bytes in use so far: of torch's tensors on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
