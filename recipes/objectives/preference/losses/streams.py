"""The log-probabilities that preference losses compare.

``log π(y | x, m)`` is the sum of the log-probabilities of the tokens of answer ``y`` (with its end token), given prompt
``x`` and medium ``m``. A *stream* is one such sum per row of the batch, of the trained model or of the reference. The
sums are float32 (or float64): differences of sums over hundreds of tokens have no correct digits in bfloat16.

This file and the losses import no torch, so that the command line can check settings before it loads heavy libraries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from inlay.recipes.settings.objective import ObjectiveError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["IMAGE", "REFERENCE", "SECOND_ANSWER", "LogProbs", "LossError", "PairLogProbs", "UnpairedLogProbs"]

REFERENCE = ("ref_chosen", "ref_rejected")
"""Streams of a loss that compares both answers with the reference."""
IMAGE = ("chosen_other_image", "ref_chosen_other_image")
"""Further streams of a loss that compares two images."""
SECOND_ANSWER = (
    "second_answer",
    "ref_second_answer",
    "second_answer_other_image",
    "ref_second_answer_other_image",
)
"""Further streams of a loss in which the other image has its own answer."""

_MEANING = {
    "chosen": "the chosen answer",
    "rejected": "the rejected answer",
    "answer": "the answer",
    "chosen_other_image": "the chosen answer given the other image",
    "second_answer": "the other image's answer given the first image",
    "second_answer_other_image": "the other image's answer given the other image",
}


_SCALARS = ("kl", "mean_chosen_tokens")


class LossError(ObjectiveError):
    """A preference loss has invalid settings, is unknown, or is called without a stream that it needs."""


@dataclass(frozen=True, kw_only=True)
class LogProbs:
    """The base of :class:`PairLogProbs` and :class:`UnpairedLogProbs`: streams of one shape, looked up by name."""

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _SCALARS}
        first, *_ = given
        rows = list(given[first].shape)
        for name, value in given.items():
            if value is None:
                continue
            if value.ndim != 1 or list(value.shape) != rows:
                wanted = "[B]" if name == first else f"{rows} like {first}"
                raise LossError(f"{name}: expected one number per row, {wanted}, got the shape {list(value.shape)}")
            if self.meaning(name) and not (value.is_floating_point() and value.dtype.itemsize >= 4):
                raise LossError(
                    f"{name}: expected log-probabilities in float32 or float64, got {value.dtype}; convert the logits "
                    "to float32 before log_softmax"
                )

    @staticmethod
    def meaning(stream: str) -> str:
        """The meaning of a stream in words; empty if the field is not a stream."""
        policy = stream.removeprefix("ref_")
        if policy not in _MEANING:
            return ""
        model = "trained model" if policy == stream else "reference"
        return f"the {model}'s log-probability of {_MEANING[policy]}"

    def stream(self, name: str) -> Tensor:
        """A stream by name, ``[B]``.

        Raises:
            LossError: it was not computed.
        """
        self.require((name,), "this loss")
        value: Tensor = getattr(self, name)
        return value

    def ratio(self, name: str) -> Tensor:
        """``log π - log π_ref`` of a stream, ``[B]``.

        Raises:
            LossError: one of the two was not computed.
        """
        return self.stream(name) - self.stream(f"ref_{name}")

    def require(self, names: Iterable[str], loss: str) -> None:
        """Check that all streams are present.

        Args:
            names: the streams that are needed.
            loss: the name of the loss, for the error.

        Raises:
            LossError: names the missing streams and how to compute them.
        """
        if missing := [name for name in names if getattr(self, name, None) is None]:
            told = "; ".join(f"{name} ({self.meaning(name) or 'a tensor'})" for name in missing)
            raise LossError(f"{loss}: expected {told}; got none. {_advice(missing)}")


def _advice(missing: list[str]) -> str:
    """How to compute missing streams."""
    if any("second_answer" in name for name in missing):
        return "Give every row a second image with its own answer, and compute both answers with both images"
    if any("other_image" in name for name in missing):
        return "Compute the chosen answer again with a corrupted or another image"
    if any(name.startswith("ref_") for name in missing):
        return "Run the reference or read its stored log-probabilities, or choose a loss without one: simpo, cpo, orpo"
    return "Pass it when the log-probabilities are collected"


@dataclass(frozen=True, kw_only=True)
class PairLogProbs(LogProbs):
    """Log-probabilities of pairs of a chosen and a rejected answer; every tensor is ``[B]``."""

    chosen: Tensor
    """``log π(w | x, m)`` of the chosen answer, in nats."""
    rejected: Tensor
    """``log π(l | x, m)`` of the rejected answer."""
    chosen_tokens: Tensor
    """Number of tokens of the chosen answer, at least 1; with token weights, their sum."""
    rejected_tokens: Tensor
    """Number of tokens of the rejected answer."""
    ref_chosen: Tensor | None = None
    """``log π_ref(w | x, m)``."""
    ref_rejected: Tensor | None = None
    """``log π_ref(l | x, m)``."""
    chosen_other_image: Tensor | None = None
    """``log π(w | x, m')``: the chosen answer with the other image, corrupted (mDPO) or of another scene (SymMPO)."""
    ref_chosen_other_image: Tensor | None = None
    """``log π_ref(w | x, m')``."""
    second_answer: Tensor | None = None
    """``log π(y' | x, m)``: the other image's own answer, given the first image."""
    ref_second_answer: Tensor | None = None
    """``log π_ref(y' | x, m)``."""
    second_answer_other_image: Tensor | None = None
    """``log π(y' | x, m')``: the other image's own answer, given that image."""
    ref_second_answer_other_image: Tensor | None = None
    """``log π_ref(y' | x, m')``."""
    chosen_nll: Tensor | None = None
    """Each pair's share of the supervised loss, see :meth:`nll`; needed if token weights changed ``chosen``."""
    mean_chosen_tokens: float | Tensor | None = None
    """Mean of ``chosen_tokens`` over the optimizer step; the mean of this batch if not given."""

    def nll(self) -> Tensor:
        """The negative log-likelihood of the chosen answers, ``[B]`` in nats per token.

        Its mean over the pairs of a step is the sum over all chosen tokens, divided by their number. TRL and
        ms-swift do the same; LLaMA-Factory and the RPO paper average over tokens within each answer, then over answers
        (pass ``chosen_nll=-chosen / chosen_tokens`` for that). Batch-level unless ``mean_chosen_tokens`` is given,
        with which micro-batches of a step sum to the loss of the whole step.
        """
        if self.chosen_nll is not None:
            return self.chosen_nll
        mean = self.mean_chosen_tokens
        return -self.chosen / (self.chosen_tokens.to(self.chosen.dtype).mean() if mean is None else mean)

    def rewards(self, beta: float, *, average: bool = False) -> tuple[Tensor, Tensor]:
        """The implicit rewards of chosen and rejected answers for the log, ``[B]`` each, without gradient.

        Args:
            beta: the temperature of the loss.
            average: divide by the number of tokens, as in SimPO and ORPO.

        Returns:
            ``β (log π - log π_ref)``, or ``β log π`` without a reference.
        """
        chosen, rejected = self.chosen.detach(), self.rejected.detach()
        if self.ref_chosen is not None and self.ref_rejected is not None:
            chosen, rejected = chosen - self.ref_chosen, rejected - self.ref_rejected
        if average:
            chosen, rejected = chosen / self.chosen_tokens, rejected / self.rejected_tokens
        return beta * chosen, beta * rejected


@dataclass(frozen=True, kw_only=True)
class UnpairedLogProbs(LogProbs):
    """Log-probabilities of single answers, each of them desirable or not; every tensor is ``[B]`` except ``kl``."""

    answer: Tensor
    """``log π(y | x, m)``, in nats."""
    desirable: Tensor
    """Bool."""
    ref_answer: Tensor | None = None
    """``log π_ref(y | x, m)``."""
    kl: Tensor | None = None
    """Estimate of the divergence from the reference, a scalar; see
    :func:`~inlay.recipes.objectives.preference.losses.kto.kl_estimate`."""
