"""The progress of a stage in optimizer steps, with the loss and the speed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from inlay.recipes.distributed.ranks import is_first
from inlay.recipes.terminal.progress import Progress

__all__ = ["StageProgress"]

EVERY = 10
"""Steps between two readings of the loss, each of which waits for the device."""


class StageProgress(ProgressBar):
    """Replaces Lightning's own bar, which counts micro-batches and begins at zero when a run is resumed.

    Args:
        name: of the stage.
        steps: of the stage.
    """

    def __init__(self, name: str, steps: int) -> None:
        super().__init__()
        self.name, self.steps = name, steps
        self._open, self._step = ExitStack(), 0
        self._progress: Progress | None = None

    def disable(self) -> None:
        """Lightning calls this in all processes but the first, in which nothing is shown."""

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin at the step that a resumed stage has reached."""
        self._step = trainer.global_step
        if is_first():
            self._progress = self._open.enter_context(Progress(self.name, self.steps, start=self._step))

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        """Show the number of optimizer steps."""
        step = trainer.global_step
        if self._progress is None or step == self._step:
            return
        self._step = step
        self._progress.update(step, self._figures(trainer, module) if step % EVERY == 0 or step >= self.steps else {})

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Show the figures of the validation, which follows its step."""
        if self._progress is not None:
            self._progress.update(self._step, self._figures(trainer, module))

    def _figures(self, trainer: Trainer, module: LightningModule) -> dict[str, float]:
        shown = self.get_metrics(trainer, module)
        return {name: value for name, value in shown.items() if name != "v_num" and isinstance(value, int | float)}

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Leave the full bar."""
        self._open.close()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Leave the bar as it is, so that the error appears below it."""
        self._open.close()
