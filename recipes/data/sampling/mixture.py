"""Mixes several data sets in proportion to the square roots of their sizes (InstructBLIP, Dai et al., 2023).

In proportion to size, small sets would hardly be used; with equal shares, they would be memorised. The sample at
each step is a pure function of sizes, seed and step, as in :mod:`~inlay.recipes.data.sampling.order`, so that a resumed
run continues with the next batch. Source: https://arxiv.org/abs/2305.06500.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler

from inlay.recipes.data.rows.sample import DataError

__all__ = ["MixtureBatches", "sqrt_shares"]

_BLOCK = 4096
"""Number of draws from one generator."""


def sqrt_shares(sizes: Sequence[int]) -> list[float]:
    """The share of each data set among the draws.

    Raises:
        DataError: no data set, or an empty one.

    Example:
        >>> sqrt_shares([100, 400, 900])
        [0.16666666666666666, 0.3333333333333333, 0.5]
    """
    if not sizes or any(size < 1 for size in sizes):
        raise DataError(f"expected data sets with at least one sample each, got the sizes {list(sizes)}")
    roots = [math.sqrt(size) for size in sizes]
    return [root / sum(roots) for root in roots]


class MixtureBatches(Sampler[list[int]]):
    """Index batches over the concatenated data sets; each data set has a new random order in every pass.

    Args:
        sizes: samples of each data set.
        batch_size: samples per batch.
        batches: batches of the whole stage.
        seed: seed of the draws and the orders.
        start: batches already done.
        shares: weight of each data set, positive numbers; the square roots of the sizes if not given.
        whole: whether to draw one data set for a whole batch, instead of one for each sample.

    Raises:
        DataError: an empty data set, or shares that do not fit.

    Example:
        >>> MixtureBatches([4, 9], 2, 6, seed=0, start=4).epochs()
        (0.5, 0.6666666666666666)
        >>> list(MixtureBatches([4, 9], 2, 6, seed=0, start=4)) == list(MixtureBatches([4, 9], 2, 6, seed=0))[4:]
        True
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch_size: int,
        batches: int,
        seed: int,
        start: int = 0,
        *,
        shares: Sequence[float] | None = None,
        whole: bool = False,
    ) -> None:
        self.sizes, self.batch_size, self.batches = tuple(sizes), batch_size, batches
        self.seed, self.start, self.whole = seed, start, whole
        roots = sqrt_shares(sizes)
        self.shares = roots if shares is None else list(shares)
        if len(self.shares) != len(self.sizes) or not all(0 < share < math.inf for share in self.shares):
            raise DataError(f"shares: expected {len(self.sizes)} positive numbers, got {self.shares}")
        self._held: tuple[int, Tensor] = (-1, torch.empty(0))
        self.offsets = tuple(sum(self.sizes[:place]) for place in range(len(self.sizes)))

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        done = self._counts(self.start)
        orders: dict[int, tuple[int, Tensor]] = {}
        for batch in range(self.start, self.batches):
            indices = []
            for place in self._drawn(batch):
                epoch, position = divmod(done[place], self.sizes[place])
                if place not in orders or orders[place][0] != epoch:
                    orders[place] = epoch, self._order(place, epoch)
                indices.append(self.offsets[place] + int(orders[place][1][position]))
                done[place] += 1
            yield indices

    def epochs(self) -> tuple[float, ...]:
        """Passes over each data set before the start."""
        return tuple(count / size for count, size in zip(self._counts(self.start), self.sizes, strict=True))

    def _drawn(self, batch: int) -> list[int]:
        """The data set of each sample of a batch."""
        if self.whole:
            return [int(self._block(batch // _BLOCK)[batch % _BLOCK])] * self.batch_size
        first = batch * self.batch_size
        return [int(self._block(draw // _BLOCK)[draw % _BLOCK]) for draw in range(first, first + self.batch_size)]

    def _counts(self, batches: int) -> list[int]:
        """Samples of each data set in the first `batches` batches."""
        draws = batches if self.whole else batches * self.batch_size
        counts = torch.zeros(len(self.sizes), dtype=torch.int64)
        for number in range(-(-draws // _BLOCK)):
            counts += torch.bincount(self._block(number)[: draws - number * _BLOCK], minlength=len(self.sizes))
        return [count * (self.batch_size if self.whole else 1) for count in counts.tolist()]

    def _block(self, number: int) -> Tensor:
        """The data sets of draws ``number * 4096`` and after, int64 ``[4096]``."""
        if self._held[0] != number:
            shares = torch.tensor(self.shares, dtype=torch.float64)
            self._held = (
                number,
                torch.multinomial(shares, _BLOCK, replacement=True, generator=_generator(self.seed, number)),
            )
        return self._held[1]

    def _order(self, place: int, epoch: int) -> Tensor:
        return torch.randperm(self.sizes[place], generator=_generator(self.seed, place, epoch))


def _generator(*numbers: int) -> torch.Generator:
    """A generator that is seeded by all the numbers."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
