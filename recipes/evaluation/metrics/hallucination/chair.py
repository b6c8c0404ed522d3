"""CHAIR: objects in captions that the image does not contain (Rohrbach et al., 2018, https://arxiv.org/abs/1809.02156).

- ``chair_i``: mentions of objects that are not in the image, of all mentions of objects;
- ``chair_s``: captions with at least one such mention, of all captions;
- ``recall``: objects of the image that are mentioned, of all objects of all images (each class counts once per image);
- ``length``: mean number of words.

Shorter captions hallucinate less: compare ``chair_i`` only at equal ``recall``. The objects of an image are
its annotations and, as in the official evaluation, the objects in its reference captions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from inlay.recipes.evaluation.errors import MetricError
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary, words_of

__all__ = ["CaptionObjects", "Chair", "caption_objects"]

_COUNTS = ("mentions", "hallucinated", "captions", "hallucinating", "objects", "found", "words")


@dataclass(frozen=True)
class CaptionObjects:
    """The objects of one caption, each list in the order of the caption, with repetitions."""

    mentioned: tuple[str, ...]
    hallucinated: tuple[str, ...]
    """The mentioned classes that are not in the image."""
    present: frozenset[str]
    """The classes that are in the image."""

    @property
    def found(self) -> frozenset[str]:
        """The classes of the image that are mentioned."""
        return self.present & set(self.mentioned)


def caption_objects(
    caption: str, objects: Collection[str], vocabulary: ObjectVocabulary, references: Sequence[str] = ()
) -> CaptionObjects:
    """Compare the objects of one caption with those of its image.

    Args:
        caption: the model's caption.
        objects: names of the annotated objects of the image: classes or synonyms.
        vocabulary: the object classes.
        references: captions by people, whose objects count as present.

    Raises:
        MetricError: an annotated object that is not in the vocabulary.

    Example:
        >>> world = ObjectVocabulary.of(["circle", "star", "ring"])
        >>> caption_objects("Two stars and a ring.", ["circle", "star"], world).hallucinated
        ('ring',)
    """
    annotated = {vocabulary.class_of(name) for name in objects}
    present = annotated.union(*map(vocabulary.mentions, references))
    mentioned = tuple(vocabulary.mentions(caption))
    return CaptionObjects(mentioned, tuple(name for name in mentioned if name not in present), frozenset(present))


class Chair(Metric):
    """CHAIR per mention and per caption, with recall and length; NaN if nothing was counted.

    Args:
        vocabulary: the object classes.

    Example:
        >>> metric = Chair(ObjectVocabulary.of(["circle", "star", "ring"]))
        >>> metric.update(["A star and a ring.", "One circle"], [["star"], ["circle", "star"]])
        >>> {name: round(value.item(), 3) for name, value in metric.compute().items()}
        {'chair_i': 0.333, 'chair_s': 0.5, 'recall': 0.667, 'length': 3.5}
    """

    full_state_update = False
    is_differentiable = False
    counts: Tensor

    def __init__(self, vocabulary: ObjectVocabulary) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.add_state("counts", torch.zeros(len(_COUNTS), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        captions: Sequence[str],
        objects: Sequence[Collection[str]],
        references: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Add captions.

        Args:
            captions: the model's captions.
            objects: the names of the annotated objects of each image.
            references: captions of each image by people, if there are any.

        Raises:
            MetricError: different lengths, or an object that is not in the vocabulary.
        """
        others = [()] * len(captions) if references is None else references
        if any(isinstance(rows, str) for rows in (captions, objects, others)) or not (
            len(captions) == len(objects) == len(others)
        ):
            raise MetricError(
                f"expected the objects (and reference captions) of each caption, got {len(captions)} captions, "
                f"{len(objects)} rows of objects and {len(others)} of references"
            )
        if wrong := [row for rows in (objects, others) for row in rows if isinstance(row, str)]:
            raise MetricError(f"expected a list of names or captions for each image, got the text {wrong[0]!r}")
        counts = torch.zeros_like(self.counts)
        for caption, present, written in zip(captions, objects, others, strict=True):
            row = caption_objects(caption, present, self.vocabulary, written)
            words = sum(word[0].isalnum() for word in words_of(caption))
            counts += torch.tensor(
                [
                    len(row.mentioned),
                    len(row.hallucinated),
                    1,
                    bool(row.hallucinated),
                    len(row.present),
                    len(row.found),
                    words,
                ],
                device=counts.device,
            )
        self.counts = self.counts + counts

    def compute(self) -> dict[str, Tensor]:
        """The figures as float64 scalars."""
        counted = dict(zip(_COUNTS, self.counts.double(), strict=True))
        return {
            "chair_i": counted["hallucinated"] / counted["mentions"],
            "chair_s": counted["hallucinating"] / counted["captions"],
            "recall": counted["found"] / counted["objects"],
            "length": counted["words"] / counted["captions"],
        }
