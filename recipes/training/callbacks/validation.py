"""Validation between optimizer steps with Lightning's loop, without an effect on training.

Lightning schedules validation by micro-batches, and has none after the last step of a stage; here optimizer steps
decide. The random state is restored afterwards, so that dropout is the same with and without validation.
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

LOSS, REWARD = "val/loss", "val/reward"
NEVER = sys.maxsize


Answers: TypeAlias = Callable[[], dict[str, float]]
"""Answers held-out questions, in every process, and returns figures by name."""


class Validation(Callback):
    """Decides when Lightning validates, scores answers, and keeps the figures.

    Args:
        run: interval and number of samples.
        steps: optimizer steps of the stage.
        answers: scores answers to held-out questions; None for none.
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
        self._step, self._saved_after, self._open = 0, False, ExitStack()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start at the step of the checkpoint."""
        self._step = trainer.global_step
        trainer.val_check_batch = NEVER
        if self._saved_after:
            # Lightning had not counted the last step for the loggers when the checkpoint was written after a
            # validation.
            trainer.fit_loop.epoch_loop._batches_that_stepped += 1
            self._saved_after = False

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Schedule a validation after the last micro-batch of a step that has one."""
        step = trainer.global_step
        self.due = step != self._step and (step % self.every == 0 or step == self.steps)
        self._step = step
        trainer.val_check_batch = 1 if self.due else NEVER

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Save the random state."""
        self._open.enter_context(isolate_rng())

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Score answers."""
        if self.answers is not None:
            with torch.inference_mode(False), torch.no_grad():
                self.figures = self.answers()
        for name, value in self.figures.items():
            module.log(f"val/{name}", torch.tensor(value, dtype=torch.float64), sync_dist=True)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Restore the random state, and print the figures."""
        self._open.close()
        logged = {name: trainer.callback_metrics.get(key) for name, key in (("loss", LOSS), ("reward", REWARD))}
        figures = {name: float(value) for name, value in logged.items() if value is not None} | self.figures
        self.history.append({"step": trainer.global_step, **figures})
        told = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.show(f"validation at step {trainer.global_step} of {self.steps}: {told}")

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Restore the random state if a validation fails."""
        self._open.close()

    def state_dict(self) -> dict[str, Any]:
        """The state in a checkpoint."""
        return {"history": self.history, "behind": self.due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.history, self._saved_after = list(state_dict["history"]), bool(state_dict["behind"])


class LastCheckpoint(ModelCheckpoint):
    """The checkpoint to resume from; at a step with a validation it is written after the validation.

    Otherwise a resumed run would lack that validation, and could stop early at another step.

    Args:
        validation: the stage's validation, if any.
        options: options of Lightning's callback.
    """

    def __init__(self, validation: Validation | None, **options: Any) -> None:
        super().__init__(**options)
        self.validation = validation

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, unless a validation follows."""
        if self.validation is None or not self.validation.due:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if this step has a checkpoint."""
        super().on_train_batch_end(trainer, pl_module, None, None, 0)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the steps in front of a validation that failed.

        With several processes the others would wait for the one that failed.
        """
        super().on_exception(trainer, pl_module, exception)
        if self.validation is not None and self.validation.due and trainer.validating and trainer.world_size == 1:
            trainer.save_checkpoint(Path(str(self.dirpath)) / f"{self.filename}.ckpt")


class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt``: the weights of the validation with the lowest loss.

    Args:
        folder: folder of the checkpoints.
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
    """Ends a stage after a number of validations without a new minimum of the loss; the count survives resuming.

    Args:
        validations: number of validations without a new minimum.
        show: prints a line for the user.
    """

    def __init__(self, validations: int, show: Callable[[str], None]) -> None:
        super().__init__(monitor=LOSS, mode="min", patience=validations, check_on_train_epoch_end=False)
        self.show = show

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if the stage had ended before."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print why the stage ended."""
        if self.wait_count >= self.patience:
            self.show(
                f"stopped early at step {trainer.global_step}: no new minimum of the loss in {self.patience} "
                f"validations; the best was {float(self.best_score):.4f}"
            )


def use_best(module: LightningModule, best: BestCheckpoint, show: Callable[[str], None]) -> None:
    """Load the weights of the best validation, if one was saved."""
    path = Path(best.best_model_path)
    if not best.best_model_path or not path.is_file():
        return
    held = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(held["state_dict"])
    show(f"weights of step {held['global_step']}, the best validation")
