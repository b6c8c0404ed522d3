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
    """The clock from the first batch to the last step."""

    def __init__(self, device: torch.device) -> None:
        self.clock, self.spent = Clock(device), Spent(0, 0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Everything is where it trains."""
        self.clock.start()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After the last step."""
        self.spent = self.clock.read()


class _Trainer(Trainer):
    """The same, which keeps the loss of every step."""

    losses: list[Tensor]

    def training_step(self, *args: Any, **options: Any) -> Tensor:
        """As it is."""
        loss = super().training_step(*args, **options)
        self.losses.append(loss)
        return loss


def optimizer_like_ours(parameters: Sequence[nn.Parameter], steps: int, rate: float) -> tuple[Optimizer, LambdaLR]:
    """What :func:`inlay.recipes.objectives.optimizer.optimizer_for` makes of a stage without settings of its own.

    Args:
        parameters: theirs.
        steps: of the whole run.
        rate: the peak.
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
    """One pass over batches.

    Args:
        model: with what it trains set.
        batches: collated, in their order: their side pays for no collation either.
        optimizer: makes the optimizer and schedule that both sides have.
        device: where.
        bf16: under autocast.
        checkpointing: compute activations twice.
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
    # Accelerate puts autocast around the model's own call and leaves it there: the next run, in float32, would have it.
    for name in ("forward", "_original_forward"):
        model.__dict__.pop(name, None)
    if checkpointing:
        model.gradient_checkpointing_disable()  # type: ignore[operator]  # of transformers' models
    return watch.spent, [float(loss) for loss in trainer.losses]


def _first(rows: list[Any]) -> Any:
    return rows[0]
