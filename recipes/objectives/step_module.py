"""The base of all training modules: the loss of a whole optimizer step, and eval mode for whatever is frozen.

Lightning divides the loss of every micro-batch by their number, and DDP takes the mean of the gradients of all
processes: micro-batches and processes would count equally, however many labelled tokens each has. Here a micro-batch
returns the sum over its terms, divided by the number of terms of the whole step, and multiplied by what Lightning and
DDP divide by. So the gradient of a step depends on its samples alone, not on how they were cut up.
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
    """Mean over the terms of this micro-batch, a scalar; any zero where there are none."""
    per: str
    """The terms' name in :func:`~inlay.recipes.data.sampling.step_counts.counts_of`."""
    weight: float = 1.0
    """In the sum of all losses; the logged value is without it."""


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
    """A stage's objective; a subclass gives ``parts`` and a ``training_step`` that returns :meth:`step_loss`.

    Args:
        stage: which parts train, and how.
        steps: optimizer steps of the whole stage.
    """

    def __init__(self, stage: Stage, steps: int) -> None:
        super().__init__()
        self.stage, self.steps = stage, steps
        self.idle: tuple[str, ...] = ()
        """Beginnings of the names of tensors that no micro-batch of this step reached so far."""
        self.share: Share | None = None
        """The current micro-batch's part of its step, set by ``StepData``; None for the batches of another loader."""
        self.make_optimizer: Callable[[list[dict[str, Any]]], Optimizer] | None = None
        """Makes the optimizer from parameter groups; AdamW with the settings of the stage if None."""
        self._held_out: dict[str, _HeldOut] | None = None
        """Losses of the batches of a validation so far; None in training."""
        self._sums: dict[str, Tensor] = {}
        self._logged: dict[str, Tensor] = {}

    def parts(self) -> Iterable[Part]:
        """All parts of this stage, trained and frozen."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> StepModule:
        """Dropout is for what trains: frozen submodules are in eval mode, whatever is asked for."""
        super().train(mode)
        eval_frozen(self)
        return self

    def on_fit_start(self) -> None:
        """Check the accumulation; leave the eval mode of an adapter that was loaded to serve, which Lightning keeps.

        Raises:
            RecipeError: the trainer accumulates another number of micro-batches than the stage says.
        """
        if self.trainer.accumulate_grad_batches != self.stage.accumulate:
            raise RecipeError(
                f"accumulate: the stage has {self.stage.accumulate} micro-batches an optimizer step, and the trainer "
                f"{self.trainer.accumulate_grad_batches}; give the Trainer accumulate_grad_batches="
                f"{self.stage.accumulate}"
            )
        super().train()

    def on_train_start(self) -> None:
        """Put what is frozen into eval mode; before this hook Lightning would warn of modules in eval mode."""
        self.train()

    def note_idle(self, names: tuple[str, ...]) -> None:
        """Remember the tensors that no micro-batch of the step has reached so far.

        Args:
            names: beginnings of the names of tensors that this micro-batch does not reach.
        """
        if self._held_out is not None:
            return
        begins = self.share is None or self.share.first
        self.idle = names if begins else tuple(name for name in self.idle if name in names)

    def step_loss(self, batch: Any, terms: Mapping[str, Term]) -> Tensor:
        """The value for ``training_step`` to return, with which the step's gradient is that of the step's loss.

        At the last micro-batch of a step the loss of the whole step, of all processes, is logged, and each term by its
        name where there are several.

        Args:
            batch: the micro-batch.
            terms: name -> loss.

        Raises:
            RecipeError: micro-batches are accumulated that were not counted by the loader.
        """
        if self._held_out is not None:
            return self._add_held_out(batch, terms, self._held_out)
        share, scale = self.share, world() * self.stage.accumulate
        if share is None:
            if self._trainer is not None and self.stage.accumulate > 1:
                raise RecipeError(
                    "accumulate: the batches do not say how many labels their optimizer step has; give the Trainer a "
                    "StepData as datamodule, or set accumulate to 1 and lower batch_size"
                )
            own = counts_of(batch)
            share, scale = Share(own, summed(own)), world()
        parts = {name: term.mean * share.of(term.per) for name, term in terms.items()}
        loss = torch.stack([terms[name].weight * part for name, part in parts.items()]).sum()
        self._log_step({"loss": loss, **(parts if len(parts) > 1 else {})}, share, len(batch))
        return loss * scale

    def on_validation_epoch_start(self) -> None:
        """Begin to add up losses."""
        self._held_out = {}

    def validation_step(self, batch: Any, number: int) -> None:
        """Add up the losses of a held-out batch, as ``training_step`` computes them."""
        # Not in inference mode: a tensor that is kept for later, such as a cached target, has to be usable in training.
        with torch.inference_mode(False), torch.no_grad():
            self.training_step(batch, number)

    def on_validation_epoch_end(self) -> None:
        """Log ``val/loss``: the sum over all terms of all processes, divided by their number; and each loss by name."""
        added, self._held_out = self._held_out or {}, None
        of_all: dict[str, _HeldOut] = {}
        for own in all_of(added):
            for name, part in own.items():
                before = of_all.get(name, _HeldOut(0.0, 0, part.weight))
                of_all[name] = _HeldOut(before.total + part.total, before.terms + part.terms, part.weight)
        if not of_all:  # another validation_step than ours
            return
        means = {name: part.total / max(1, part.terms) for name, part in of_all.items()}
        figures = {"loss": sum(of_all[name].weight * mean for name, mean in means.items())}
        for name, value in {**(means if len(means) > 1 else {}), **figures}.items():
            # The same value in every process, so their mean is this value.
            self.log(f"val/{name}", torch.tensor(value, dtype=torch.float64), prog_bar=name == "loss", sync_dist=True)

    def _add_held_out(self, batch: Any, terms: Mapping[str, Term], added: dict[str, _HeldOut]) -> Tensor:
        own = counts_of(batch)
        for name, term in terms.items():
            before, count = added.get(name, _HeldOut(0.0, 0, term.weight)), own[term.per]
            added[name] = _HeldOut(before.total + float(term.mean) * count, before.terms + count, term.weight)
        return torch.stack([term.weight * term.mean for term in terms.values()]).sum()

    def _log_step(self, values: Mapping[str, Tensor], share: Share, size: int) -> None:
        """Add up over the micro-batches; until the last one, the values of the step before are logged again."""
        before = {} if share.first else self._sums
        self._sums = {name: before.get(name, 0) + value.detach() for name, value in values.items()}
        if share.last:
            self._logged = self._sums
        for name, value in self._logged.items():
            self.log(name, value, prog_bar=True, batch_size=size, sync_dist=True, reduce_fx="sum")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """A learning rate for each part; warm-up, then the stage's schedule."""
        return optimizer_for(self.parts(), self.stage, self.steps, self.make_optimizer)
