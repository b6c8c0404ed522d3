"""Is a caption of the miniature right? A deterministic judge: it names the things that are there, and no others."""

from __future__ import annotations

from collections.abc import Sequence

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.layout import Layout
from inlay.recipes.data.features import FeatureCache
from inlay.recipes.data.sample import Sample
from inlay.recipes.evaluate import answer_all
from inlay.recipes.miniature.grammar import read_caption

__all__ = ["caption_accuracy", "caption_is_right"]

LONGEST = 60
"""Tokens of the longest caption, with some room."""


def caption_is_right(said: str, reference: str) -> bool:
    """Whether a caption names exactly the things of the reference, with size, colour, shape and place, in any order.

    Where the reference names none (a digit), the wording must be the same.

    Example:
        >>> caption_is_right("there is a small red ring in the center.", "a small red ring in the center.")
        True
        >>> caption_is_right("a large red ring in the center.", "a small red ring in the center.")
        False
    """
    things = read_caption(reference)
    return read_caption(said) == things if things else said.strip() == reference.strip()


def caption_accuracy(
    model: AttachedModel, layout: Layout, samples: Sequence[Sample], features: FeatureCache | None = None
) -> float:
    """Share of pictures whose greedy caption is right.

    Args:
        model: attached.
        layout: of the captioning stage.
        samples: pictures with a caption each.
        features: frozen features, if they are cached.
    """
    answered = answer_all(model, samples, layout=layout, features=features, max_new_tokens=LONGEST)
    return sum(caption_is_right(item.said, item.question.reference) for item in answered) / max(1, len(answered))
