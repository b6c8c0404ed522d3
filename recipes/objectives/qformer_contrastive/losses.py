r"""The losses of BLIP-2's first stage as pure functions (Li et al., 2023, https://arxiv.org/abs/2301.12597).

Suffixes: ``N`` pictures and texts of this process, ``M`` of all processes together.

- contrastive: ``s_nm = max_q cos(v_nq, t_m)`` over the queries ``q``; cross-entropy of ``s / temperature`` in both
  directions, with label smoothing;
- matching: a binary classification of pairs. Each true pair has two false ones, sampled with the softmax of the
  contrastive scores, so that similar ones are more likely;
- generation: cross-entropy of each next word, with label smoothing.

In a small or repetitive data set a batch can contain the same picture or caption twice. Such pairs are not negatives:
they share the contrastive target equally, and are never sampled as false pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["contrast_loss", "generation_loss", "hard_negatives", "matches"]


def matches(owners: Tensor, texts: Tensor, all_owners: Tensor, all_texts: Tensor) -> Tensor:
    """The true pairs of pictures and texts: those with the same picture or the same caption.

    Args:
        owners: ``[N]``, the number of each picture.
        texts: ``[N, L]``, ids of its caption.
        all_owners: ``[M]``.
        all_texts: ``[M, L]``.

    Returns:
        ``[N, M]`` bool.

    Example:
        >>> words = torch.tensor([[7, 2], [5, 2], [7, 2]])
        >>> matches(torch.tensor([0, 1, 2]), words, torch.tensor([0, 1, 2]), words).int().tolist()
        [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    """
    same_words = (texts[:, None, :] == all_texts[None, :, :]).all(dim=2)
    return (owners[:, None] == all_owners[None, :]) | same_words


def contrast_loss(to_texts: Tensor, to_images: Tensor, same: Tensor, smoothing: float) -> Tensor:
    """The contrastive loss, as the mean of both directions.

    Args:
        to_texts: ``[N, M]``, each own picture with every text, divided by the temperature.
        to_images: ``[N, M]``, each own text with every picture, divided by the temperature.
        same: ``[N, M]`` bool of :func:`matches`; each row has at least one.
        smoothing: label smoothing.

    Example:
        >>> scores = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
        >>> round(contrast_loss(scores, scores, torch.eye(2).bool(), 0.0).item(), 4)
        0.0181
    """
    target = same.to(to_texts.dtype)
    target = target / target.sum(dim=1, keepdim=True)
    one = F.cross_entropy(to_texts, target, label_smoothing=smoothing)
    return (one + F.cross_entropy(to_images, target, label_smoothing=smoothing)) / 2


def hard_negatives(scores: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """Sample one false partner for each row, with the probabilities of the softmax over false partners.

    Sampling is on the CPU, whose random state is in the checkpoint.

    Args:
        scores: ``[N, M]``, divided by the temperature.
        same: ``[N, M]`` bool, true partners, which are never sampled.

    Returns:
        Rows with a false partner, ``[K]`` with K <= N, and the partners ``[K]``.

    Example:
        >>> rows, partners = hard_negatives(torch.zeros(3, 2), torch.tensor([[1, 0], [0, 1], [1, 1]]).bool())
        >>> rows.tolist(), partners.tolist()
        ([0, 1], [1, 0])
    """
    with torch.no_grad():
        (rows,) = torch.where(~same.all(dim=1))
        if not len(rows):
            return rows, rows
        weights = scores[rows].float().masked_fill(same[rows], -torch.inf).softmax(dim=1)
        partners = torch.multinomial(weights.cpu(), 1).squeeze(1).to(rows.device)
    return rows, partners


def generation_loss(logits: Tensor, ids: Tensor, mask: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of every next token except padding.

    Args:
        logits: ``[N, L, vocabulary]``; row ``t`` depends on the tokens up to ``t``.
        ids: ``[N, L]``.
        mask: ``[N, L]``.
        smoothing: label smoothing.
    """
    real = mask[:, 1:].bool()
    return F.cross_entropy(logits[:, :-1][real], ids[:, 1:][real], label_smoothing=smoothing)
