"""Samples that are converted from the rows of a table when they are used.

A list of a million samples takes gigabytes; this sequence takes some 40 bytes a row, mostly mapped from a file that
processes share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.rows.tables.base import Table
from inlay.recipes.data.rows.tables.facts import Facts

__all__ = ["Read", "Samples", "samples_of"]

Read = Callable[..., "Sample | Sequence[Sample]"]
"""``read(row, where=place)`` -> a sample, or several, or none; ``row`` is a plain dict."""

_BLOCK = 64


def samples_of(found: Sample | Sequence[Sample]) -> Sequence[Sample]:
    """The samples of a row."""
    return (found,) if isinstance(found, Sample) else found


class Samples(Sequence[Sample]):
    """The valid rows of a table as samples.

    Args:
        table: the rows.
        read: converts a row.
        facts: the facts about the valid rows.
        chosen: positions in `facts`; all if not given.
        key: name of the entry of the facts in the cache, if there is one.
    """

    def __init__(
        self,
        table: Table,
        read: Read,
        facts: Facts,
        chosen: NDArray[np.int64] | None = None,
        key: str | None = None,
    ) -> None:
        self.table, self.read, self.facts, self.chosen, self.key = table, read, facts, chosen, key

    def __len__(self) -> int:
        return len(self.facts) if self.chosen is None else len(self.chosen)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> Samples: ...
    def __getitem__(self, place: int | slice) -> Sample | Samples:
        if isinstance(place, slice):
            return self.take(range(len(self))[place])
        place = range(len(self))[place]
        return next(self._converted(range(place, place + 1)))

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), _BLOCK):
            yield from self._converted(range(start, min(start + _BLOCK, len(self))))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def take(self, places: Sequence[int] | NDArray[Any]) -> Samples:
        """Some of the samples, in the given order."""
        chosen = np.asarray(places, np.int64)
        return Samples(self.table, self.read, self.facts, chosen if self.chosen is None else self.chosen[chosen])

    def column(self, name: str) -> NDArray[np.int64]:
        """One of the facts, a value for each sample; see :class:`Facts`."""
        values = self.facts.columns[name]
        return (values if self.chosen is None else values[self.chosen]).astype(np.int64)

    def _converted(self, places: range) -> Iterator[Sample]:
        held: Any = places if self.chosen is None else self.chosen[places.start : places.stop]
        columns: Mapping[str, NDArray[Any]] = self.facts.columns
        numbers = [int(columns["row"][place]) for place in held]
        for place, number, row in zip(held, numbers, self.table.take(numbers), strict=True):
            found, repeat = self.read(row, where=self.table.where(number)), columns["repeat"][place]
            sample = samples_of(found)[columns["piece"][place]]
            yield replace(sample, id=f"{sample.id}#{repeat}") if repeat else sample
