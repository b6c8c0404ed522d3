"""The memory that a stage will use, estimated before its first step.

Weights, gradients and AdamW's moments are counted. Activations are measured: one forward pass of the longest sample,
times the size of a micro-batch. This is the largest possible batch, so a stage of mixed lengths uses less. A sample
is a conversation, a preference row with its answers, or a question with its group of answers.
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
from inlay.recipes.settings.free_memory import proc_bytes

__all__ = ["MemoryPlan", "head_bytes", "held_bytes", "kept_bytes", "peak_bytes", "roomier"]

MIB = 1 << 20
COPIES = 2
"""Copies of a chunk of logits during the loss."""
SMALL, SHARE = 8, 0.5
"""Below so many conversations in a micro-batch a larger one is suggested, if it takes at most this share of the free
memory."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Bytes on the training device, for one process."""

    weights: int
    """Frozen models and adapter, already allocated."""
    features: int
    """Cached features, already allocated in main memory."""
    gradients: int
    optimizer: int
    """Two moments per trained parameter."""
    activations: int
    """Tensors saved by autograd for the largest micro-batch."""
    passing: int
    """Temporary memory of the current layer: gradients of its activations, and intermediate results."""
    head: int
    """Logits of one chunk of rows."""
    reference: int = 0
    """Copy of the adapter at the start, in alignment tuning with a live reference."""
    generation: int = 0
    """Keys, values and scores while answers are drawn, in training on rewards; they are free again before the loss."""
    available: int
    """Free memory before the first step."""

    @property
    def to_come(self) -> int:
        """Memory that training adds."""
        training = self.activations + self.passing + self.head
        return self.gradients + self.optimizer + self.reference + max(training, self.generation)

    @property
    def fits(self) -> bool:
        """Whether the added memory is available."""
        return self.to_come <= self.available

    def lines(self) -> str:
        """The plan as one line for the user."""
        rows = {**asdict(self), "to come": self.to_come}
        rows["available"] = rows.pop("available")
        rows = {name: size for name, size in rows.items() if size or name not in ("reference", "generation")}
        return "memory in MiB: " + ", ".join(f"{name} {size / MIB:,.0f}" for name, size in rows.items())


class kept_bytes:  # noqa: N801 - reads as a statement
    """Context that counts the memory of tensors saved by autograd, each storage once.

    Args:
        modules: their parameters and buffers are not counted.

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


def roomier(plan: MemoryPlan, batch_size: int, accumulate: int) -> int:
    """The lowest useful number of micro-batches that the memory allows; `accumulate` itself if it need not change.

    The published numbers suit the published batch sizes: 8 micro-batches of a batch of 128 are 16 conversations each,
    but of a batch of 16 only 2, which are slow.

    Args:
        plan: of a stage with `accumulate` micro-batches.
        batch_size: conversations of an optimizer step.
        accumulate: micro-batches of an optimizer step.

    Example:
        >>> sizes = dict(weights=9, features=0, gradients=1, optimizer=2, head=1, available=200)
        >>> roomier(MemoryPlan(**sizes, activations=20, passing=2), 16, 8)
        2
    """
    if batch_size // accumulate >= SMALL:
        return accumulate
    fixed, growing = plan.gradients + plan.optimizer, plan.activations + plan.passing + plan.head
    for fewer in range(1, accumulate):
        needed = fixed + growing * accumulate // fewer
        if batch_size % fewer == 0 and batch_size // fewer <= 2 * SMALL and needed <= SHARE * plan.available:
            return fewer
    return accumulate


def head_bytes(batch: Batch, vocabulary: int, rows: int) -> int:
    """Memory for the logits of one chunk, in a batch of ``rows`` samples like this one."""
    labelled = rows * int((batch.labels >= 0).sum() if batch.target is None else (batch.target >= 0).sum())
    return COPIES * min(CHUNK_BYTES, 4 * vocabulary * max(1, labelled))


def held_bytes(device: torch.device) -> int:
    """Memory in bytes now: torch's tensors on a GPU, the process with Python and its libraries on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return proc_bytes("/proc/self/status", "VmRSS") or peak_bytes(device)


def peak_bytes(device: torch.device) -> int:
    """Peak memory in bytes since the start: torch's tensors on a GPU, the process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
