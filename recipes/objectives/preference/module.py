"""The training module of preference tuning: log-probabilities of policy and reference, loss, and the usual figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.recipes.objectives.next_token.module import NextTokenModule, idle_parts
from inlay.recipes.objectives.preference.batch import PairBatch
from inlay.recipes.objectives.preference.losses.kto import kl_estimate
from inlay.recipes.objectives.preference.losses.streams import PairLogProbs, UnpairedLogProbs
from inlay.recipes.objectives.preference.reference import FrozenCopy
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.objectives.step_module import Term
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.stage import Stage

__all__ = ["FIRST_STEP_TOLERANCE", "PreferenceModule"]

FIRST_STEP_TOLERANCE = 1e-4
"""Allowed difference of an untouched policy's loss from its known value in float32."""


class PreferenceModule(NextTokenModule):
    """One stage of preference tuning on an attached model.

    Args:
        model: backbone and adapter.
        stage: which parts train, and how.
        steps: optimizer steps of the whole stage.
        settings: the loss.
        reference: the adapter at the start.
    """

    def __init__(
        self, model: AttachedModel, stage: Stage, steps: int, settings: Preference, reference: FrozenCopy
    ) -> None:
        super().__init__(model, stage, steps)
        self.settings, self.loss, self.reference = settings, settings.function, reference
        self.fresh = True
        """Whether there was no optimizer step yet, so that policy and reference are equal."""

    def train(self, mode: bool = True) -> PreferenceModule:
        """Keep eval mode: with dropout, policy and reference would differ at the first step."""
        super().train(mode)
        for child in self.children():
            child.eval()
        return self

    def on_train_start(self) -> None:
        """Also record whether this is the first step; before this hook the step of a resumed run is 0."""
        super().on_train_start()
        self.fresh = self.trainer.global_step == 0

    def training_step(self, batch: Any, _: int) -> Tensor:
        """The micro-batch's share of the loss of the optimizer step."""
        self.note_idle(idle_parts(self.adapter, batch.batch))
        return self.step_loss(batch, self.terms(batch))

    def on_before_optimizer_step(self, _: Any) -> None:
        """Record that policy and reference differ from now on."""
        self.fresh = False

    def terms(self, batch: Any) -> Mapping[str, Term]:
        """The loss of a micro-batch, the mean over its pairs."""
        found = self.log_probs(batch)
        losses = self.loss(found)
        if self.fresh:
            self._check_first(losses)
        self._log_figures(found)
        return {"preference": Term(losses.mean(), per="pairs")}

    def log_probs(self, batch: PairBatch) -> PairLogProbs | UnpairedLogProbs:
        """Log-probabilities of policy and reference by stream."""
        policy = self.model.log_probs(batch.batch)
        streams = batch.streams(policy)
        if self.loss.needs_reference:
            reference = batch.reference or self.reference.log_probs(batch.batch)
            streams |= {f"ref_{name}": value for name, value in batch.streams(reference).items()}
        if batch.desirable is not None:
            kl = None
            if "mismatched" in streams:
                kl = kl_estimate(streams.pop("mismatched").detach(), streams.pop("ref_mismatched"))
            return UnpairedLogProbs(desirable=batch.desirable, kl=kl, **streams)
        mean = None
        if self.share is not None and self.share.total.get("pairs"):
            mean = self.share.total["chosen_tokens"] / self.share.total["pairs"]
        nll = None
        if batch.weights is not None:  # the supervised term has no weights
            plain = replace(batch, weights=None).streams(policy)["chosen"]
            nll = -plain / (batch.chosen_tokens / len(batch) if mean is None else mean)
        return PairLogProbs(
            chosen_nll=nll,
            chosen_tokens=batch.counts["chosen"],
            rejected_tokens=batch.counts["rejected"],
            mean_chosen_tokens=mean,
            **streams,
        )

    def _check_first(self, losses: Tensor) -> None:
        """Raise if the loss of an untouched policy differs from its known value."""
        expected = self.loss.first_step()
        if expected is None:
            return
        exact = self.model.backbone.llm.dtype == torch.float32 and not torch.is_autocast_enabled(losses.device.type)
        tolerance = FIRST_STEP_TOLERANCE if exact else 0.05
        value = float(losses.detach().mean())
        if not abs(value - expected) <= tolerance * max(1.0, abs(expected)):
            raise RecipeError(
                f"{self.settings.loss}: expected the loss {expected:.6f} for the untouched adapter, got {value:.6f}: "
                "the reference is not this adapter. Causes: dropout in the frozen models, stored log-probabilities of "
                "other weights (remove the folder of --data.cache_dir), or a model whose output depends on the batch; "
                "--stages.STAGE.objective.reference live computes them again"
            )

    def _log_figures(self, found: PairLogProbs | UnpairedLogProbs) -> None:
        """The figures that all preference trainers log; means over the micro-batch."""
        if self._trainer is None or not isinstance(found, PairLogProbs):
            return
        beta = float(getattr(self.loss, "beta", 1.0))
        chosen, rejected = found.rewards(beta, average=not self.loss.needs_reference)
        figures = {
            "rewards/chosen": chosen.mean(),
            "rewards/rejected": rejected.mean(),
            "rewards/margins": (chosen - rejected).mean(),
            "rewards/accuracies": (chosen > rejected).float().mean(),
            "logps/chosen": found.chosen.detach().mean(),
            "logps/rejected": found.rejected.detach().mean(),
        }
        if found.ref_chosen is not None:
            figures["logps/chosen_above_reference"] = (found.chosen.detach() - found.ref_chosen).mean()
        prefix = "val/" if self._held_out is not None else ""
        for name, value in figures.items():
            self.log(f"{prefix}{name}", value, batch_size=len(chosen), sync_dist=True)
