"""Numbers of pairs and ties, and mean rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PairSummary", "summary_of"]

_ALL_RIGHT = 0.999
"""Mean reward from which all answers count as right; the built-in rewards end at 1."""


@dataclass(frozen=True, kw_only=True)
class PairSummary:
    """The result of :func:`~inlay.recipes.preference_pairs.make.pairs`."""

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
    tied: float
    """Mean reward of the answers to questions with a tie; 0 without ties."""
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
        return "\n".join([*lines, *([] if self.pairs else self._advice())])

    def _advice(self) -> list[str]:
        """Why there is no pair, and which options to change."""
        lines = []
        if self.equal:
            lines.append(
                f"no pairs: {self.equal} questions got the same text in every answer; raise --temperature or --samples"
            )
        if self.ties:
            if self.tied >= _ALL_RIGHT:
                why, change = "all are right", "use harder questions (--data)"
            elif self.tied <= 0:
                why, change = "all are wrong", "train the adapter further, or use easier questions (--data)"
            else:
                why, change = f"{self.tied:.3g} on average", "raise --samples"
            lines.append(
                f"no pairs: {self.ties} questions got different answers with the same reward ({why}); {change}, or "
                "choose another --reward"
            )
        return lines


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
        tied=mean([item["score"] for item in done if item["outcome"] == "tie"]),
        cut=sum(item["cut"] for item in done),
    )
