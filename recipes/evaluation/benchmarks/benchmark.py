"""The parts of a benchmark: its items, its scores, and the functions that read, score and write them.

Every figure is in the unit in which papers print it: percent, points of MME, CIDEr times 100. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from inlay.hub.errors import InlayError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inlay.adapters.conversation.messages import Message
    from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles, Published

__all__ = ["Benchmark", "BenchmarkError", "Item", "ResultsFile", "Scored", "limited", "mean_of_counts"]


class BenchmarkError(InlayError):
    """An unknown benchmark, or official files that are missing or malformed."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a benchmark."""

    name: str
    """Unique in the benchmark."""
    prompt: tuple[Message, ...]
    """The conversation to answer: one turn of the user."""
    gold: Any = None
    """The facts that the scorer needs: the right answer, references, ids."""
    part: str = ""
    """The subset, such as POPE's ``random`` or a category of MME."""
    group: str = ""
    """Items that are scored together, such as all rotations of a question of MMBench; the item alone if empty."""
    cluster: str = ""
    """Items that the bootstrap draws together, such as all questions about a picture; the group if empty."""


@dataclass(frozen=True)
class Scored:
    """The figures of one column of answers, and the counts of which the main figure is a function."""

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
    """The file that an evaluation server takes, or the official evaluation code."""

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
    """``score(items, answers)``; not called if no item has a `gold`, as in test sets with secret answers."""
    main: str
    """The figure that two bundles are compared by."""
    instruction: str = ""
    """Text that follows each question, or the whole prompt of a captioning benchmark."""
    tokens: int = 16
    """Maximum tokens of an answer."""
    results: ResultsFile | None = None
    better: str = "higher"
    """``higher`` or ``lower``: which main figure is the better one."""


def limited(items: Sequence[Item], limit: int | None) -> list[Item]:
    """The first ``limit`` groups of each part, with all items of a group; all items without a limit.

    Example:
        >>> items = [Item(f"{part}{n}", (), part=part) for part in "ab" for n in range(3)]
        >>> [item.name for item in limited(items, 2)]
        ['a0', 'a1', 'b0', 'b1']
    """
    if limit is None:
        return list(items)
    kept: dict[str, set[str]] = {}
    chosen = []
    for item in items:
        groups, group = kept.setdefault(item.part, set()), item.group or item.name
        if group in groups or len(groups) < limit:
            groups.add(group)
            chosen.append(item)
    return chosen
