r"""The losses of BLIP-2's first stage as pure functions (Li et al., 2023, https://arxiv.org/abs/2301.12597).

Suffixes: ``N`` pictures and texts of this process, ``M`` of all processes together.

- contrast: ``s_nm = max_q cos(v_nq, t_m)`` over the queries ``q``; cross-entropy of ``s / temperature`` in both
  directions, with label smoothing;
- matching: does this text belong to this picture? Each true pair has two false ones, drawn from the contrast's softmax,
  so that similar ones come more often;
- generation: cross-entropy of each next word, with label smoothing.

In a small or repetitive data set a batch holds the same picture or the same words twice. Such pairs are no negatives:
the contrast's target is shared out among them, and none of them is drawn as a false pair.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["contrast_loss", "generation_loss", "hard_negatives", "matches"]


def matches(owners: Tensor, texts: Tensor, all_owners: Tensor, all_texts: Tensor) -> Tensor:
    """Which pictures and texts belong together: the same picture, or the same words.

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
    """The mean of both directions.

    Args:
        to_texts: ``[N, M]``, each own picture with every text, divided by the temperature.
        to_images: ``[N, M]``, each own text with every picture, divided by the temperature.
        same: ``[N, M]`` bool of :func:`matches`; each row has at least one.
        smoothing: share of the target that is spread over all.

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
    """Draw one false partner for each row, with the probabilities of the softmax over false partners.

    The numbers are drawn on the CPU, whose random state a checkpoint keeps.

    Args:
        scores: ``[N, M]``, divided by the temperature.
        same: ``[N, M]`` bool, partners that are never drawn.

    Returns:
        Rows that have a false partner at all, ``[K]`` with K <= N, and the partners ``[K]``.

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
    """Cross-entropy of every next token that is no padding.

    Args:
        logits: ``[N, L, vocabulary]``; row ``t`` has seen the tokens up to ``t``.
        ids: ``[N, L]``.
        mask: ``[N, L]``.
        smoothing: share of the target that is spread over the vocabulary.
    """
    real = mask[:, 1:].bool()
    return F.cross_entropy(logits[:, :-1][real], ids[:, 1:][real], label_smoothing=smoothing)
