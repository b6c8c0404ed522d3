r"""The policy loss of GRPO, DAPO, Dr. GRPO and RLOO (Shao et al., 2024, https://arxiv.org/abs/2402.03300).

Suffixes: ``B`` sampled answers, ``T`` tokens. With the ratio ``r = π / π_old`` of a token's probabilities now and when
the answer was sampled, and the answer's advantage ``A``, the loss of a token is

``-min(r A, clip(r, 1 - low, 1 + high) A) + kl_weight · k3``, ``k3 = π_ref/π - 1 - log(π_ref/π)``

(k3: Schulman, 2020, http://joschu.net/blog/kl-approx.html). The modes differ in how tokens are averaged:

- ``grpo``: the mean over each answer's tokens, then over answers, so that a token of a long answer weighs less;
- ``dapo``: the mean over all tokens of the step (Yu et al., 2025, https://arxiv.org/abs/2503.14476), TRL's default;
- ``dr_grpo``: the sum divided by a fixed length (Liu et al., 2025, https://arxiv.org/abs/2503.20783);
- ``rloo``: the ratio of whole answers instead of tokens (Ahmadian et al., 2024, https://arxiv.org/abs/2402.14740).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from inlay.recipes.objectives.policy_gradient.advantages import PolicyError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Averaging", "PolicyFigures", "PolicySettings", "SampledAnswers", "policy_loss"]

Averaging = Literal["grpo", "dapo", "dr_grpo", "rloo"]


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """Settings of the policy loss."""

    averaging: Averaging = "dapo"
    """The averaging of the tokens' losses."""
    clip_low: float = 0.2
    """The ratio is clipped below ``1 - clip_low``; from 0 to 1."""
    clip_high: float = 0.2
    """The ratio is clipped above ``1 + clip_high``; DAPO's paper uses 0.28."""
    kl_weight: float = 0.0
    """Weight of the divergence from the reference, per token; 0 needs no reference. TRL's default is 0, GRPO's paper
    uses 0.04."""
    max_tokens: int | None = None
    """The divisor of ``dr_grpo``: the maximum tokens of a sampled answer."""

    def __post_init__(self) -> None:
        if self.averaging not in get_args(Averaging):
            raise PolicyError(f"averaging: expected one of {', '.join(get_args(Averaging))}, got {self.averaging!r}")
        if not 0 <= self.clip_low <= 1 or not self.clip_high >= 0 or not self.kl_weight >= 0:
            raise PolicyError(
                "expected clip_low from 0 to 1, clip_high and kl_weight of at least 0, got "
                f"{self.clip_low}, {self.clip_high} and {self.kl_weight}"
            )
        if self.averaging == "dr_grpo" and not (self.max_tokens and self.max_tokens > 0):
            raise PolicyError(f"dr_grpo: expected max_tokens above 0, got {self.max_tokens}; use that of the sampling")


@dataclass(frozen=True, kw_only=True)
class SampledAnswers:
    """Sampled answers with their advantages; log-probabilities are float32 and may have any value where masked."""

    log_probs: Tensor
    """``[B, T]``, of the trained model, with gradient."""
    old_log_probs: Tensor | None = None
    """``[B, T]``, of the model that sampled; those of the trained model if each sample is used for one step only."""
    ref_log_probs: Tensor | None = None
    """``[B, T]``, of the reference; needed if ``kl_weight`` is not 0."""
    mask: Tensor
    """``[B, T]`` bool, the tokens of the answer with its end token; at least one in each row."""
    advantages: Tensor
    """``[B]``."""
    mean_tokens: float | Tensor | None = None
    """``dapo``: the mean number of tokens of an answer over the optimizer step; that of this batch if not given."""


@dataclass(frozen=True, kw_only=True)
class PolicyFigures:
    """Sums over the tokens of a batch, which add up over micro-batches and processes; scalars without gradient."""

    tokens: Tensor
    kl: Tensor
    """Sum of k3; 0 without a reference."""
    clipped_low: Tensor
    """Tokens with a ratio below the range and a negative advantage; ``rloo``: all tokens of such answers."""
    clipped_high: Tensor
    """Tokens with a ratio above the range and a positive advantage."""

    def means(self) -> dict[str, float]:
        """``kl``, ``clip_low``, ``clip_high`` and ``clip_share`` per token, for the log."""
        kl, low, high = (float(value / self.tokens) for value in (self.kl, self.clipped_low, self.clipped_high))
        return {"kl": kl, "clip_low": low, "clip_high": high, "clip_share": low + high}


def policy_loss(answers: SampledAnswers, settings: PolicySettings) -> tuple[Tensor, PolicyFigures]:
    """The loss of each answer.

    Args:
        answers: the batch.
        settings: clipping, averaging and the weight of the divergence.

    Returns:
        ``[B]``, whose mean over all answers of the step is the loss; and the figures. Batch-level for ``dapo`` unless
        ``mean_tokens`` is given.

    Raises:
        PolicyError: shapes do not match, or the reference is missing.

    Example:
        >>> import torch
        >>> answers = SampledAnswers(log_probs=torch.tensor([[-1.0, -2.0]]), mask=torch.ones(1, 2).bool(),
        ...                          advantages=torch.tensor([0.5]))
        >>> policy_loss(answers, PolicySettings())[0].tolist()
        [-0.5]
    """
    _check(answers, settings)
    outside = ~answers.mask
    old = answers.log_probs.detach() if answers.old_log_probs is None else answers.old_log_probs
    log_ratio = (answers.log_probs - old).masked_fill(outside, 0.0)
    lengths = answers.mask.sum(dim=1, keepdim=True).to(log_ratio.dtype)
    whole = settings.averaging == "rloo"
    ratio = (log_ratio.sum(dim=1, keepdim=True) if whole else log_ratio).exp()
    advantages = answers.advantages[:, None]
    clipped = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
    losses = -(ratio * advantages).minimum(clipped * advantages)
    low = (ratio < 1 - settings.clip_low) & (advantages < 0)
    high = (ratio > 1 + settings.clip_high) & (advantages > 0)
    divergence = log_ratio.new_zeros(log_ratio.shape)
    if answers.ref_log_probs is not None:
        distance = (answers.ref_log_probs - answers.log_probs).masked_fill(outside, 0.0)
        divergence = distance.expm1() - distance
    figures = PolicyFigures(
        tokens=lengths.sum(),
        kl=divergence.detach().sum(),
        clipped_low=(low & answers.mask).sum(),
        clipped_high=(high & answers.mask).sum(),
    )
    if whole:
        return losses[:, 0] + settings.kl_weight * divergence.sum(dim=1), figures
    sums = (losses + settings.kl_weight * divergence).masked_fill(outside, 0.0).sum(dim=1)
    if settings.averaging == "grpo":
        return sums / lengths[:, 0], figures
    if settings.averaging == "dr_grpo":
        return sums / float(settings.max_tokens or 1), figures
    return sums / (lengths.mean() if answers.mean_tokens is None else answers.mean_tokens), figures


def _check(answers: SampledAnswers, settings: PolicySettings) -> None:
    shape = answers.log_probs.shape
    for name in ("old_log_probs", "ref_log_probs", "mask"):
        value = getattr(answers, name)
        if value is not None and value.shape != shape:
            raise PolicyError(f"{name}: expected [B, T] {list(shape)} like log_probs, got {list(value.shape)}")
    if answers.advantages.shape != shape[:1]:
        raise PolicyError(f"advantages: expected [B] {list(shape[:1])}, got {list(answers.advantages.shape)}")
    if settings.kl_weight and answers.ref_log_probs is None:
        raise PolicyError(
            f"kl_weight {settings.kl_weight}: expected ref_log_probs, got none; run the reference, or set kl_weight "
            "to 0"
        )
