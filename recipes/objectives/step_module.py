"""The base of all training modules: the loss of a whole optimizer step, and eval mode for frozen modules.

Lightning divides the loss of a micro-batch by the number of micro-batches, and DDP averages gradients over processes,
so all of them would have the same weight, regardless of their labelled tokens. Here a micro-batch returns the sum over
its terms, divided by the number of terms of the whole step, and multiplied by Lightning's and DDP's divisors. So the
gradient of a step depends only on its samples, not on their split into micro-batches and processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from inlay.adapters.parts.part import Part
from inlay.recipes.data.sampling.step_counts import Share, counts_of
from inlay.recipes.distributed.ranks import all_of, summed, world
from inlay.recipes.objectives.optimizer import optimizer_for
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.stage import Stage

__all__ = ["StepModule", "Term", "eval_frozen"]


class Term(NamedTuple):
    """One loss of a micro-batch."""

    mean: Tensor
    """Mean over the terms of this micro-batch, a scalar; 0 without terms."""
    per: str
    """The terms' name in :func:`~inlay.recipes.data.sampling.step_counts.counts_of`."""
    weight: float = 1.0
    """Weight in the total loss; the logged value is unweighted."""


class _HeldOut(NamedTuple):
    """One loss over held-out batches."""

    total: float
    """Sum over the terms."""
    terms: int
    """Their number."""
    weight: float


def eval_frozen(module: nn.Module) -> None:
    """Put every submodule whose parameters are all frozen into eval mode; the others keep their mode."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        eval_frozen(child)


class StepModule(LightningModule):
    """A stage's objective; a subclass defines ``parts`` and a ``training_step`` that returns :meth:`step_loss`.

    Args:
        stage: which parts train, and how.
        steps: optimizer steps of the whole stage.
    """

    def __init__(self, stage: Stage, steps: int) -> None:
        super().__init__()
        self.stage, self.steps = stage, steps
        self.idle: tuple[str, ...] = ()
        """Name prefixes of tensors that no micro-batch of this step has used so far."""
        self.share: Share | None = None
        """The current micro-batch's part of its step, set by ``StepData``; None for the batches of another loader."""
        self.make_optimizer: Callable[[list[dict[str, Any]]], Optimizer] | None = None
        """Builds the optimizer from parameter groups; AdamW with the settings of the stage if None."""
        self._held_out: dict[str, _HeldOut] | None = None
        """Losses of the current validation so far; None in training."""
        self._sums: dict[str, Tensor] = {}
        self._logged: dict[str, Tensor] = {}

    def parts(self) -> Iterable[Part]:
        """All parts of this stage, trained and frozen."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> StepModule:
        """Set the mode of trained submodules; frozen ones are always in eval mode, without dropout."""
        super().train(mode)
        eval_frozen(self)
        return self

    def on_fit_start(self) -> None:
        """Check the accumulation and leave eval mode, which Lightning would keep for a loaded adapter.

        Raises:
            RecipeError: stage and trainer accumulate different numbers of micro-batches.
        """
        if self.trainer.accumulate_grad_batches != self.stage.accumulate:
            raise RecipeError(
                f"accumulate: the stage has {self.stage.accumulate} micro-batches an optimizer step, and the trainer "
                f"{self.trainer.accumulate_grad_batches}; give the Trainer accumulate_grad_batches="
                f"{self.stage.accumulate}"
            )
        super().train()

    def on_train_start(self) -> None:
        """Put frozen modules into eval mode; Lightning would warn about it in an earlier hook."""
        self.train()

    def note_idle(self, names: tuple[str, ...]) -> None:
        """Record the tensors that no micro-batch of the step has used so far.

        Args:
            names: name prefixes of tensors that this micro-batch does not use.
        """
        if self._held_out is not None:
            return
        begins = self.share is None or self.share.first
        self.idle = names if begins else tuple(name for name in self.idle if name in names)

    def step_loss(self, batch: Any, terms: Mapping[str, Term]) -> Tensor:
        """The return value of ``training_step``, scaled so that the accumulated gradient is that of the step's loss.

        At the last micro-batch, logs the loss of the whole step over all processes, and each term if there are several.

        Args:
            batch: the micro-batch.
            terms: name -> loss.

        Raises:
            RecipeError: accumulation with a loader that does not count the terms of a step.
        """
        if self._held_out is not None:
            return self._add_held_out(batch, terms, self._held_out)
        share, scale = self.share, world() * self.stage.accumulate
        if share is None:
            if self._trainer is not None and self.stage.accumulate > 1:
                raise RecipeError(
                    "accumulate: the batches have no count of the labels of their optimizer step; give the Trainer a "
                    "StepData as datamodule, or set accumulate to 1 and lower batch_size"
                )
            own = counts_of(batch)
            share, scale = Share(own, summed(own)), world()
        parts = {name: term.mean * share.of(term.per) for name, term in terms.items()}
        loss = torch.stack([terms[name].weight * part for name, part in parts.items()]).sum()
        self._log_step({"loss": loss, **(parts if len(parts) > 1 else {})}, share, len(batch))
        return loss * scale

    def on_validation_epoch_start(self) -> None:
        """Start with empty sums."""
        self._held_out = {}

    def validation_step(self, batch: Any, number: int) -> None:
        """Add up the losses of a held-out batch, as ``training_step`` computes them."""
        # Not in inference mode: training may reuse cached tensors, such as targets.
        with torch.inference_mode(False), torch.no_grad():
            self.training_step(batch, number)

    def on_validation_epoch_end(self) -> None:
        """Log ``val/loss``, the mean over all terms of all processes, and each loss by name."""
        added, self._held_out = self._held_out or {}, None
        of_all: dict[str, _HeldOut] = {}
        for own in all_of(added):
            for name, part in own.items():
                before = of_all.get(name, _HeldOut(0.0, 0, part.weight))
                of_all[name] = _HeldOut(before.total + part.total, before.terms + part.terms, part.weight)
        if not of_all:  # A subclass has its own validation_step.
            return
        means = {name: part.total / max(1, part.terms) for name, part in of_all.items()}
        figures = {"loss": sum(of_all[name].weight * mean for name, mean in means.items())}
        for name, value in {**(means if len(means) > 1 else {}), **figures}.items():
            # All processes have the same value, so the mean leaves it unchanged.
            self.log(f"val/{name}", torch.tensor(value, dtype=torch.float64), prog_bar=name == "loss", sync_dist=True)

    def _add_held_out(self, batch: Any, terms: Mapping[str, Term], added: dict[str, _HeldOut]) -> Tensor:
        own = counts_of(batch)
        for name, term in terms.items():
            before, count = added.get(name, _HeldOut(0.0, 0, term.weight)), own[term.per]
            added[name] = _HeldOut(before.total + float(term.mean) * count, before.terms + count, term.weight)
        return torch.stack([term.weight * term.mean for term in terms.values()]).sum()

    def _log_step(self, values: Mapping[str, Tensor], share: Share, size: int) -> None:
        """Sum over the micro-batches; before the last one, the values of the previous step are logged again."""
        before = {} if share.first else self._sums
        self._sums = {name: before.get(name, 0) + value.detach() for name, value in values.items()}
        if share.last:
            self._logged = self._sums
        for name, value in self._logged.items():
            self.log(name, value, prog_bar=True, batch_size=size, sync_dist=True, reduce_fx="sum")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """A learning rate for each part; warm-up, then the stage's schedule."""
        return optimizer_for(self.parts(), self.stage, self.steps, self.make_optimizer)
