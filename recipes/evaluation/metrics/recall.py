"""Recall@k of image-text retrieval with several captions per picture (Karpathy & Fei-Fei, 2015).

*Image to text*: the share of pictures with at least one of their captions among the k best captions. *Text to image*:
the share of captions whose picture is among the k best pictures. Candidates that tie with the right one rank before it,
so constant scores give a recall of 0.
The protocol is that of https://arxiv.org/abs/1412.2306, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from inlay.recipes.evaluation.errors import MetricError

__all__ = ["RetrievalRecall", "recall_at_k"]

KS = (1, 5, 10)


def recall_at_k(
    scores: Tensor, owners: Tensor, *, ks: Sequence[int] = KS, text_scores: Tensor | None = None
) -> dict[str, float]:
    """Recall in both directions.

    Args:
        scores: ``[images, captions]``, higher is more alike.
        owners: int64 ``[captions]``, the row of each caption's picture.
        ks: values of k, each at least 1; may exceed the number of candidates.
        text_scores: ``[captions, images]``, separate scores for text to image, such as after re-ranking; the transpose
            of ``scores`` if not given.

    Returns:
        ``image_to_text@k`` and ``text_to_image@k``, 0..1.

    Raises:
        MetricError: shapes do not match, a picture has no caption, a score is nan, or a k is below 1.

    Example:
        >>> scores = torch.tensor([[0.9, 0.1, 0.3], [0.2, 0.8, 0.7]])  # captions 0 and 2 describe picture 0
        >>> recall_at_k(scores, torch.tensor([0, 1, 0]), ks=[1])
        {'image_to_text@1': 1.0, 'text_to_image@1': 0.6666666666666666}
    """
    if text_scores is None:
        text_scores = scores.t() if scores.ndim == 2 else scores
    _check(scores, owners, text_scores, ks)
    images, captions = scores.shape
    own = owners[None, :] == torch.arange(images, device=owners.device)[:, None]  # [images, captions]
    # Rank of the best own caption: the number of other pictures' captions with at least its score.
    best = scores.masked_fill(~own, -torch.inf).amax(1, keepdim=True)
    text_ranks = ((scores >= best) & ~own).sum(1)
    right = text_scores.gather(1, owners[:, None])
    image_ranks = (text_scores >= right).sum(1) - 1
    return {f"image_to_text@{k}": (text_ranks < k).sum().item() / images for k in ks} | {
        f"text_to_image@{k}": (image_ranks < k).sum().item() / captions for k in ks
    }


def _check(scores: Tensor, owners: Tensor, text_scores: Tensor, ks: Sequence[int]) -> None:
    fitting = scores.ndim == 2 and owners.shape == scores.shape[1:] and text_scores.shape == scores.shape[::-1]
    if not fitting or 0 in scores.shape:
        raise MetricError(
            "expected scores [images, captions], owners [captions] and text_scores [captions, images], none of them "
            f"empty, got {list(scores.shape)}, {list(owners.shape)} and {list(text_scores.shape)}"
        )
    images = scores.shape[0]
    if owners.is_floating_point() or not 0 <= int(owners.min()) <= int(owners.max()) < images:
        raise MetricError(f"owners: expected whole numbers from 0 to {images - 1}, the rows of the captions' pictures")
    without = (
        torch.ones(images, dtype=torch.bool).index_fill(0, owners.cpu().long(), False).nonzero().flatten().tolist()
    )
    if without:
        raise MetricError(f"owners: {len(without)} of {images} pictures have no caption, the first is row {without[0]}")
    if scores.isnan().any() or text_scores.isnan().any():
        raise MetricError("scores: expected numbers, got nan")
    if not ks or any(k < 1 for k in ks):
        raise MetricError(f"ks: expected at least one number from 1 on, got {list(ks)}")


class RetrievalRecall(Metric):
    """Recall@k of batches of pictures, each scored against all captions.

    Args:
        owners: int64 ``[captions]``, the number of each caption's picture, from 0.
        ks: values of k.

    Example:
        >>> metric = RetrievalRecall(torch.tensor([0, 1, 0]), ks=[1])
        >>> metric.update(torch.tensor([[0.2, 0.8, 0.7]]), [1])
        >>> metric.update(torch.tensor([[0.9, 0.1, 0.3]]), [0])
        >>> round(metric.compute()["text_to_image@1"].item(), 3)
        0.667
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    rows: Any  # torchmetrics: a list of tensors, one tensor after processes have been joined
    places: Any

    def __init__(self, owners: Tensor, ks: Sequence[int] = KS) -> None:
        super().__init__()
        self.owners, self.ks = owners, tuple(ks)
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.add_state("places", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, images: Sequence[int]) -> None:
        """Add pictures.

        Args:
            scores: ``[batch, captions]``.
            images: the number of each picture, as in ``owners``.

        Raises:
            MetricError: shapes do not match.
        """
        if scores.shape != (len(images), len(self.owners)):
            raise MetricError(
                f"expected scores [{len(images)}, {len(self.owners)}], one row per picture and one column per caption, "
                f"got {list(scores.shape)}"
            )
        self.rows.append(scores.to(self.device))
        self.places.append(torch.tensor(images, dtype=torch.int64, device=self.device))

    def compute(self) -> dict[str, Tensor]:
        """``image_to_text@k`` and ``text_to_image@k`` as float64.

        Raises:
            MetricError: a picture is missing or was added twice.
        """
        rows, places = (torch.cat(part) if isinstance(part, list) else part for part in (self.rows, self.places))
        order = places.argsort()
        if places[order].tolist() != list(range(len(places))):
            raise MetricError(f"expected every picture once, got the numbers {sorted(places.tolist())[:20]}")
        figures = recall_at_k(rows[order], self.owners.to(rows.device), ks=self.ks)
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in figures.items()}
