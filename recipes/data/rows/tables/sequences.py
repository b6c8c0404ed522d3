"""Sequences of samples that are computed from other sequences on access: converted, split, chosen or joined.

They stand in place of lists, so that the samples of a large file are never in memory together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.rows.tables.samples import Samples

__all__ = ["Chosen", "Converted", "Joined", "Lazy", "Split", "chosen", "split"]


class Lazy(Sequence[Sample]):
    """A sequence that is defined by its length and by one sample at a place."""

    def at(self, place: int) -> Sample:
        """The sample at a place from 0."""
        raise NotImplementedError

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Sample]: ...
    def __getitem__(self, place: int | slice) -> Sample | Sequence[Sample]:
        chosen = range(len(self))[place]
        return self.at(chosen) if isinstance(chosen, int) else Chosen(self, chosen)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of a list


class Chosen(Lazy):
    """Some samples of a sequence.

    Args:
        samples: the sequence.
        places: the places of the chosen ones.
    """

    def __init__(self, samples: Sequence[Sample], places: Sequence[int] | NDArray[Any]) -> None:
        self.samples, self.places = samples, np.asarray(places, np.int64)

    def __len__(self) -> int:
        return len(self.places)

    def at(self, place: int) -> Sample:
        """The sample at a place from 0."""
        return self.samples[int(self.places[place])]


class Converted(Lazy):
    """The samples of a sequence, each converted.

    Args:
        samples: the sequence.
        convert: sample -> sample.
    """

    def __init__(self, samples: Sequence[Sample], convert: Callable[[Sample], Sample]) -> None:
        self.samples, self.convert = samples, convert

    def __len__(self) -> int:
        return len(self.samples)

    def at(self, place: int) -> Sample:
        """The sample at a place from 0."""
        return self.convert(self.samples[place])

    def __iter__(self) -> Iterator[Sample]:
        return map(self.convert, self.samples)


class Split(Lazy):
    """The samples of a sequence, each split into several.

    Args:
        samples: the sequence.
        split: sample -> its parts.
        counts: number of parts of each sample.
    """

    def __init__(
        self, samples: Sequence[Sample], split: Callable[[Sample], Sequence[Sample]], counts: NDArray[np.int64]
    ) -> None:
        self.samples, self.split = samples, split
        self.ends: NDArray[np.int64] = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def at(self, place: int) -> Sample:
        """The sample at a place from 0."""
        whole = int(np.searchsorted(self.ends, place, side="right"))
        return self.split(self.samples[whole])[place - (int(self.ends[whole - 1]) if whole else 0)]

    def __iter__(self) -> Iterator[Sample]:
        return (part for sample in self.samples for part in self.split(sample))


def split(samples: Sequence[Sample], parts: Callable[[Sample], Sequence[Sample]]) -> Split:
    """Every sample split into its answered questions.

    Args:
        samples: the samples.
        parts: sample -> one sample for each answered question.
    """
    if isinstance(samples, Samples):
        return Split(samples, parts, samples.column("parts"))
    return Split(samples, parts, np.fromiter((len(parts(sample)) for sample in samples), np.int64, len(samples)))


def chosen(samples: Sequence[Sample], keep: Callable[[Sample], object]) -> Sequence[Sample]:
    """The samples that fulfil a condition; their places are held, not the samples."""
    places = np.fromiter((place for place, sample in enumerate(samples) if keep(sample)), np.int64)
    return samples if len(places) == len(samples) else Chosen(samples, places)


class Joined(Lazy):
    """Several sequences one after another.

    Args:
        parts: the sequences.
    """

    def __init__(self, parts: Sequence[Sequence[Sample]]) -> None:
        self.parts = list(parts)
        self.ends = list(accumulate(map(len, self.parts)))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def at(self, place: int) -> Sample:
        """The sample at a place from 0."""
        part = bisect_right(self.ends, place)
        return self.parts[part][place - (self.ends[part - 1] if part else 0)]

    def __iter__(self) -> Iterator[Sample]:
        return (sample for part in self.parts for sample in part)
