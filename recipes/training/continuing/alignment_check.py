"""Figures before and after alignment tuning: hallucinated objects in captions, answers to questions, the ratio of yes.

CHAIR counts objects in captions that the picture does not have; a caption that says less has fewer, so recall and
length stand beside it. A model that says yes more often hallucinates in another way, which POPE measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inlay.adapters.adapter import AttachedModel
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.evaluation.answering import Answered, answer_all
from inlay.recipes.evaluation.metrics.hallucination.chair import Chair
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary
from inlay.recipes.evaluation.metrics.pope import Pope
from inlay.recipes.training.validation import spread

__all__ = ["caption_figures", "caption_lines", "yes_figures"]

CAPTIONS = 800
"""Held-out captions that are written. With 256 of them, CHAIR after tuning moves by a fifth of its value by chance."""
LONGEST = 60
"""Maximum tokens of a caption."""
FEWEST = 20
"""Below so many yes/no questions there are no figures."""


def caption_figures(
    model: AttachedModel, captioned: Sequence[Sample], vocabulary: ObjectVocabulary, features: FeatureCache | None
) -> dict[str, float]:
    """``chair_i``, ``chair_s``, ``recall`` and ``length`` of captions, in the adapter's layout; empty without captions.

    Args:
        model: the attached model.
        captioned: held-out pictures with captions; a description, if there is one, names further objects.
        vocabulary: the object classes.
        features: cached features.
    """
    rows = [row for row in spread(captioned, CAPTIONS) if len(row.messages) == 2]
    if not rows:
        return {}
    answered = answer_all(model, rows, features=features, max_new_tokens=LONGEST, shared=True)
    described = {row.id: row.description for row in rows}
    metric = Chair(vocabulary)
    metric.update(
        [item.said for item in answered],
        [()] * len(answered),
        [(*item.question.answers, described.get(item.name, "")) for item in answered],
    )
    return _plain(metric.compute())


def yes_figures(answered: Sequence[Answered]) -> dict[str, float]:
    """POPE's figures of the yes/no questions; empty if there are few."""
    labels = [item.question.reference.strip().rstrip(".").lower() for item in answered]
    chosen = [(item.said, label) for item, label in zip(answered, labels, strict=True) if label in ("yes", "no")]
    if len(chosen) < FEWEST:
        return {}
    metric = Pope()
    metric.update([said for said, _ in chosen], [label for _, label in chosen])
    return _plain(metric.compute())


def caption_lines(before: dict[str, float], after: dict[str, float]) -> str:
    """Both rows of figures, for the user."""
    rows = [
        f"{when}: " + ", ".join(f"{name} {value:.3f}" for name, value in row.items())
        for when, row in (("before", before), ("after", after))
    ]
    return "hallucinated objects in held-out captions\n  " + "\n  ".join(rows)


def _plain(figures: dict[str, Any]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in figures.items()}
