"""Validation between optimizer steps, by Lightning's own loop; training goes on as if there had been none.

Lightning counts micro-batches up to a validation, and has none behind the last step of a stage. Here the optimizer step
decides. Random numbers are put back afterwards, so that dropout is the same with and without validation.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.seed import isolate_rng

from inlay.recipes.settings.run import RunSettings

__all__ = ["LOSS", "BestCheckpoint", "LastCheckpoint", "Patience", "Validation", "use_best"]

LOSS = "val/loss"
NEVER = sys.maxsize


Answers: TypeAlias = Callable[[], dict[str, float]]
"""Answers held-out questions, in every process, and gives figures by name."""


class Validation(Callback):
    """Decides when Lightning validates, scores answers, and keeps the figures.

    Args:
        run: how often.
        steps: optimizer steps of the stage.
        answers: of the held-out questions, if any are asked.
        show: prints a line for the user.
    """

    def __init__(self, run: RunSettings, steps: int, answers: Answers | None, show: Callable[[str], None]) -> None:
        every = run.validate_every if run.validate_every >= 1 else math.ceil(run.validate_every * steps)
        self.every, self.steps, self.answers, self.show = int(every) or steps, steps, answers, show
        self.figures: dict[str, float] = {}
        self.due = False
        """Whether a validation follows this micro-batch."""
        self.history: list[dict[str, float]] = []
        """Step, loss and metric of each validation."""
        self._step, self._saved_behind, self._open = 0, False, ExitStack()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin at the step of the checkpoint."""
        self._step = trainer.global_step
        trainer.val_check_batch = NEVER
        if self._saved_behind:
            # Lightning counts the step of a checkpoint that was written behind a validation after it, for the loggers.
            trainer.fit_loop.epoch_loop._batches_that_stepped += 1
            self._saved_behind = False

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for a validation behind the last micro-batch of a step that has one."""
        step = trainer.global_step
        self.due = step != self._step and (step % self.every == 0 or step == self.steps)
        self._step = step
        trainer.val_check_batch = 1 if self.due else NEVER

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Keep the state of the random numbers."""
        self._open.enter_context(isolate_rng())

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Score answers."""
        if self.answers is not None:
            with torch.inference_mode(False), torch.no_grad():
                self.figures = self.answers()
        for name, value in self.figures.items():
            module.log(f"val/{name}", torch.tensor(value, dtype=torch.float64), sync_dist=True)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Put the random numbers back, and tell."""
        self._open.close()
        figures = {"loss": float(trainer.callback_metrics[LOSS]), **self.figures}
        self.history.append({"step": trainer.global_step, **figures})
        told = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.show(f"validation at step {trainer.global_step} of {self.steps}: {told}")

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Put the random numbers back where a validation fails."""
        self._open.close()

    def state_dict(self) -> dict[str, Any]:
        """The content of a checkpoint."""
        return {"history": self.history, "behind": self.due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with it."""
        self.history, self._saved_behind = list(state_dict["history"]), bool(state_dict["behind"])


class LastCheckpoint(ModelCheckpoint):
    """The checkpoint to resume from; at a step with a validation it is written behind it.

    Otherwise a run that is resumed from it would lack that validation, and would stop early at another step.

    Args:
        validation: of the stage, if it has one.
        options: of Lightning's callback.
    """

    def __init__(self, validation: Validation | None, **options: Any) -> None:
        super().__init__(**options)
        self.validation = validation

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, or leave it to the validation that follows."""
        if self.validation is None or not self.validation.due:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if this step has a checkpoint."""
        super().on_train_batch_end(trainer, pl_module, None, None, 0)


class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt``: the weights of the validation with the lowest loss.

    Args:
        folder: of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor=LOSS,
            mode="min",
            save_top_k=1,
            save_weights_only=True,
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )


class Patience(EarlyStopping):
    """Ends a stage after so many validations without a new minimum of the loss; a resumed stage remembers them.

    Args:
        validations: without a new minimum.
        show: prints a line for the user.
    """

    def __init__(self, validations: int, show: Callable[[str], None]) -> None:
        super().__init__(monitor=LOSS, mode="min", patience=validations, check_on_train_epoch_end=False)
        self.show = show

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once where the stage has ended before."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say why the stage ended."""
        if self.wait_count >= self.patience:
            self.show(
                f"stopped early at step {trainer.global_step}: no new minimum of the loss in {self.patience} "
                f"validations; the best was {float(self.best_score):.4f}"
            )


def use_best(module: LightningModule, best: BestCheckpoint, show: Callable[[str], None]) -> None:
    """Load the weights of the best validation; they stay as they are where none was saved."""
    path = Path(best.best_model_path)
    if not best.best_model_path or not path.is_file():
        return
    held = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(held["state_dict"])
    show(f"weights of step {held['global_step']}, the best validation")
