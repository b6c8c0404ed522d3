"""The order of training: the samples of each optimizer step, as a pure function of seed and position.

So a resumed run continues with the next step, and a checkpoint needs only the number of steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

__all__ = ["StepBatches"]


class StepBatches(Sampler[list[int]]):
    """Index batches for a whole stage: epochs in different random orders, cut after `batches`.

    Args:
        samples: size of the data.
        batch_size: samples per batch; the last batch of an epoch continues into the next epoch.
        batches: batches of the whole stage.
        seed: seed of the order.
        start: batches already done.

    Example:
        >>> list(StepBatches(4, batch_size=2, batches=3, seed=0, start=2)) == list(StepBatches(4, 2, 3, 0))[2:]
        True
    """

    def __init__(self, samples: int, batch_size: int, batches: int, seed: int, start: int = 0) -> None:
        self.samples, self.batch_size, self.batches = samples, batch_size, batches
        self.seed, self.start = seed, start

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        orders: dict[int, Tensor] = {}
        for batch in range(self.start, self.batches):
            first = batch * self.batch_size
            positions = range(first, first + self.batch_size)
            epochs = {position // self.samples for position in positions}
            orders = {epoch: orders[epoch] if epoch in orders else self._order(epoch) for epoch in epochs}
            yield [int(orders[position // self.samples][position % self.samples]) for position in positions]

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return torch.randperm(self.samples, generator=generator)
