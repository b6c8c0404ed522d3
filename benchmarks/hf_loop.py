"""Their side of a training measure: the ``Trainer`` of transformers on the model of transformers."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from benchmarks.timing import Clock, Spent
from inlay.recipes.objectives.optimizer import learning_rate

__all__ = ["Watch", "fit_theirs", "optimizer_like_ours"]


class Watch(TrainerCallback):
    """Measures the time from the first batch to the last step."""

    def __init__(self, device: torch.device) -> None:
        self.clock, self.spent = Clock(device), Spent(0, 0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock, after the model has moved to its device."""
        self.clock.start()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the clock."""
        self.spent = self.clock.read()


class _Trainer(Trainer):
    """A ``Trainer`` that keeps the loss of every step."""

    losses: list[Tensor]

    def training_step(self, *args: Any, **options: Any) -> Tensor:
        """Run the step and keep its loss."""
        loss = super().training_step(*args, **options)
        self.losses.append(loss)
        return loss


def optimizer_like_ours(parameters: Sequence[nn.Parameter], steps: int, rate: float) -> tuple[Optimizer, LambdaLR]:
    """The optimizer and schedule of :func:`inlay.recipes.objectives.optimizer.optimizer_for` with default settings.

    Args:
        parameters: trained parameters of their model.
        steps: optimizer steps of the run.
        rate: the peak learning rate.
    """
    optimizer = AdamW([{"params": list(parameters), "lr": rate}], betas=(0.9, 0.999), weight_decay=0.0)
    return optimizer, LambdaLR(optimizer, learning_rate(steps, max(1, round(steps * 0.03))))


def fit_theirs(
    model: nn.Module,
    batches: Sequence[Mapping[str, Tensor]],
    *,
    optimizer: Callable[[], tuple[Optimizer | None, LambdaLR | None]],
    device: torch.device,
    bf16: bool = False,
    checkpointing: bool = False,
    clip: float = 1.0,
) -> tuple[Spent, list[float]]:
    """Train on batches, one pass.

    Args:
        model: a model whose trained parameters have ``requires_grad``.
        batches: collated batches in order, so that collation is not measured.
        optimizer: function that builds the optimizer and schedule, which are equal for both sides.
        device: the device.
        bf16: use autocast to bfloat16.
        checkpointing: use gradient checkpointing.
        clip: largest norm of the gradient.

    Returns:
        The time from the first batch to the last step, and the loss of every step.
    """
    watch = Watch(device)
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            output_dir=place,
            max_steps=len(batches),
            per_device_train_batch_size=1,
            train_sampling_strategy="sequential",
            gradient_checkpointing=checkpointing,
            bf16=bf16,
            max_grad_norm=clip,
            use_cpu=device.type == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        trainer = _Trainer(
            model=model,
            args=arguments,
            train_dataset=list(batches),
            data_collator=_first,
            optimizers=optimizer(),
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.losses = []
        trainer.train()
    # Accelerate wraps the model's forward method in autocast and does not undo it, which would affect later runs.
    for name in ("forward", "_original_forward"):
        model.__dict__.pop(name, None)
    if checkpointing:
        model.gradient_checkpointing_disable()  # type: ignore[operator]  # of transformers' models
    return watch.spent, [float(loss) for loss in trainer.losses]


def _first(rows: list[Any]) -> Any:
    return rows[0]
