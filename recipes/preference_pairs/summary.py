"""Numbers of pairs and ties, and mean rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PairSummary", "summary_of"]


@dataclass(frozen=True, kw_only=True)
class PairSummary:
    """The result of :func:`pairs`."""

    output: Path
    questions: int
    """Questions that were answered."""
    pairs: int
    ties: int
    """Questions whose answers differ and have equal scores."""
    equal: int
    """Questions whose answers are all equal."""
    unscored: int
    """Questions that the reward cannot score; they were not answered."""
    score: float
    """Mean reward of all answers."""
    chosen: float
    """Mean reward of the chosen answers; 0 without pairs."""
    rejected: float
    """Mean reward of the rejected answers; 0 without pairs."""
    cut: int
    """Answers that reached the limit of new tokens."""

    def __str__(self) -> str:
        total = max(1, self.questions)
        lines = [
            f"{self.output}: {self.pairs} pairs of {self.questions} questions; left out: {self.ties} ties "
            f"({self.ties / total:.1%}), {self.equal} with equal answers ({self.equal / total:.1%})",
            f"mean reward: all answers {self.score:.3f}, chosen {self.chosen:.3f}, rejected {self.rejected:.3f}",
        ]
        if self.unscored:
            lines.append(f"{self.unscored} questions cannot be scored by this reward and were not answered")
        if self.cut:
            lines.append(f"{self.cut} answers reached the limit of new tokens; see --max_new_tokens")
        return "\n".join(lines)


def summary_of(output: Path, done: Sequence[Mapping[str, Any]], unscored: int) -> PairSummary:
    """The summary of all finished questions.

    Args:
        output: the file of the pairs.
        done: ``outcome``, ``score`` (the mean of the answers), ``cut`` and ``row`` of each question.
        unscored: questions that were not answered.
    """
    rows = [item["row"] for item in done if item["row"] is not None]

    def mean(values: Sequence[float]) -> float:
        return sum(values) / max(1, len(values))

    return PairSummary(
        output=output,
        questions=len(done),
        pairs=len(rows),
        ties=sum(item["outcome"] == "tie" for item in done),
        equal=sum(item["outcome"] == "equal" for item in done),
        unscored=unscored,
        score=mean([item["score"] for item in done]),
        chosen=mean([row["score_chosen"] for row in rows]),
        rejected=mean([row["score_rejected"] for row in rows]),
        cut=sum(item["cut"] for item in done),
    )
