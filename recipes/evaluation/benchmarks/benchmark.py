"""A benchmark: the functions that read its items, score the answers, and write the results file.

Every figure is in the unit in which papers print it: percent, points of MME, CIDEr times 100. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inlay.recipes.evaluation.benchmarks.item import Item
    from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles, Published

__all__ = ["Benchmark", "ResultsFile", "Scored", "mean_of_counts"]


@dataclass(frozen=True)
class Scored:
    """The figures of one column of answers, and the counts from which the main figure is computed."""

    figures: dict[str, float]
    counts: Sequence[Sequence[float]]
    """``[items, k]``: counts that add up over items."""
    main: Callable[[NDArray[Any]], NDArray[Any]]
    """Sums of counts ``[..., k]`` -> main figure ``[...]``."""


def mean_of_counts(sums: NDArray[Any]) -> NDArray[Any]:
    """100 times the first sum divided by the second: a mean in percent, 0 without items."""
    total = sums[..., 1]
    mean: NDArray[Any] = 100 * sums[..., 0] / (total + (total == 0))
    return mean


Read: TypeAlias = "Callable[[OfficialFiles, str], list[Item]]"
Score: TypeAlias = "Callable[[Sequence[Item], Sequence[str]], Scored]"
Write: TypeAlias = "Callable[[Path, Sequence[Item], Sequence[str], OfficialFiles], None]"


@dataclass(frozen=True, kw_only=True)
class ResultsFile:
    """The file for an evaluation server, or for the official evaluation code."""

    name: str
    """Its file name."""
    write: Write
    """``write(path, items, answers, files)``."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark; see :func:`~inlay.recipes.evaluation.benchmarks.registry.register_benchmark`."""

    name: str
    published: Published
    read: Read
    """``read(files, instruction)`` -> all items, in the order of the official files."""
    score: Score
    """``score(items, answers)``; not called if no item has a `gold`, as in test sets without public answers."""
    main: str
    """The figure by which two bundles are compared."""
    instruction: str = ""
    """Text that follows each question, or the whole prompt of a captioning benchmark."""
    tokens: int = 16
    """Maximum tokens of an answer."""
    results: ResultsFile | None = None
    better: str = "higher"
    """``higher`` or ``lower``: the better direction of the main figure."""
