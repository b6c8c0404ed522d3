"""Advantages: the reward of an answer compared with those of other answers to the same question.

Suffixes: ``G`` groups (one question with one medium each), ``K`` sampled answers of a group.

- GRPO: ``(r - mean) / (std + 1e-4)`` over the group (Shao et al., 2024, https://arxiv.org/abs/2402.03300); the standard
  deviation is the unbiased one, as in TRL.
- Dr. GRPO: ``r - mean``, since the division favours questions that are nearly always or nearly never answered (Liu et
  al., 2025, https://arxiv.org/abs/2503.20783).
- RLOO: ``r - mean of the other answers`` (Ahmadian et al., 2024, https://arxiv.org/abs/2402.14740).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inlay.recipes.settings.objective import ObjectiveError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PolicyError", "centred", "group_normalised", "leave_one_out", "undecided"]

EPSILON = 1e-4
"""Added to the standard deviation, as in TRL; a group of equal rewards has the advantage 0."""


class PolicyError(ObjectiveError):
    """Rewards are not one finite number per sampled answer, or a group has too few answers to compare."""


def group_normalised(rewards: Tensor, epsilon: float = EPSILON) -> Tensor:
    """GRPO's advantages.

    Args:
        rewards: ``[G, K]`` float, K at least 2.
        epsilon: added to the standard deviation.

    Returns:
        ``[G, K]``.

    Raises:
        PolicyError: see :class:`PolicyError`.

    Example:
        >>> import torch
        >>> group_normalised(torch.tensor([[1.0, 0.0], [2.0, 2.0]]))
        tensor([[ 0.7070, -0.7070],
                [ 0.0000,  0.0000]])
    """
    _check(rewards)
    return centred(rewards) / (rewards.std(dim=1, keepdim=True) + epsilon)


def centred(rewards: Tensor) -> Tensor:
    """Dr. GRPO's advantages.

    Args:
        rewards: ``[G, K]`` float, K at least 2.

    Returns:
        ``[G, K]``.

    Raises:
        PolicyError: see :class:`PolicyError`.
    """
    _check(rewards)
    return rewards - rewards.mean(dim=1, keepdim=True)


def leave_one_out(rewards: Tensor) -> Tensor:
    """RLOO's advantages.

    Args:
        rewards: ``[G, K]`` float, K at least 2.

    Returns:
        ``[G, K]``.

    Raises:
        PolicyError: see :class:`PolicyError`.

    Example:
        >>> import torch
        >>> leave_one_out(torch.tensor([[1.0, 0.0, 0.5]])).tolist()
        [[0.75, -0.75, 0.0]]
    """
    _check(rewards)
    answers = rewards.shape[1]
    return (rewards - rewards.mean(dim=1, keepdim=True)) * (answers / (answers - 1))


def undecided(rewards: Tensor) -> Tensor:
    """The groups whose answers all have the same reward, ``[G]`` bool, and which give no gradient.

    Args:
        rewards: ``[G, K]``.
    """
    return rewards.amax(dim=1) == rewards.amin(dim=1)


def _check(rewards: Tensor) -> None:
    if rewards.ndim != 2 or rewards.shape[1] < 2 or not rewards.is_floating_point():
        raise PolicyError(
            "rewards: expected floats [groups, answers] with at least 2 answers for each question, got "
            f"{rewards.dtype} {list(rewards.shape)}"
        )
    if not rewards.isfinite().all():
        group, answer = (~rewards.isfinite()).nonzero()[0].tolist()
        raise PolicyError(
            f"rewards: expected finite numbers, got {rewards[group, answer].item()} for answer {answer} of group "
            f"{group}; return a number for every answer, such as 0 for one that cannot be scored"
        )
