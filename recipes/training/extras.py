"""Custom additions to a training run: callbacks, loggers, arguments of Lightning's Trainer, an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch.optim import Optimizer

from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.loggers import check_logger

__all__ = ["Extras", "LoggerChoice", "OptimizerFactory"]

OptimizerFactory: TypeAlias = Callable[[list[dict[str, Any]]], Optimizer]
"""Parameter groups (``params``, ``lr``, ``name``, with weight decay also ``weight_decay``) -> optimizer."""

LoggerChoice: TypeAlias = str | Logger | Sequence[str | Logger]

_OURS = frozenset(
    [
        "accelerator",
        "accumulate_grad_batches",
        "callbacks",
        "devices",
        "gradient_clip_val",
        "logger",
        "max_epochs",
        "num_nodes",
        "plugins",
        "precision",
        "strategy",
        "use_distributed_sampler",
    ]
)
"""Trainer arguments that are set by the recipe and the run's settings."""


@dataclass(frozen=True, kw_only=True)
class Extras:
    """Additions to a run, which are not saved in ``config.yaml``."""

    callbacks: Sequence[Callback] = ()
    """Callbacks for every stage, run after those of inlay."""
    logger: LoggerChoice = ("csv", "tensorboard")
    """Names (``csv``, ``tensorboard``, ``wandb``, ``mlflow``) or Lightning loggers."""
    trainer: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of :class:`lightning.pytorch.Trainer`, such as ``{"max_steps": 200}``."""
    optimizer: OptimizerFactory | None = None
    """Builds the optimizer; AdamW if not given. The stage's warm-up and schedule still apply."""

    def __post_init__(self) -> None:
        if taken := [name for name in self.trainer if name in _OURS]:
            raise SettingsError(
                f"trainer: {', '.join(taken)}: set by the recipe and the settings of the run; change those instead"
            )
        for name in self._chosen():
            if isinstance(name, str):
                check_logger(name)

    def loggers(self, folder: Path, stage: str) -> list[Logger]:
        """The loggers of a stage.

        Args:
            folder: folder of their files.
            stage: name of the stage.
        """
        return [_logger(choice, folder, stage) if isinstance(choice, str) else choice for choice in self._chosen()]

    def _chosen(self) -> Sequence[str | Logger]:
        return [self.logger] if isinstance(self.logger, str | Logger) else self.logger


def _logger(name: str, folder: Path, stage: str) -> Logger:
    if name == "tensorboard":
        return TensorBoardLogger(folder, name=stage)
    if name == "wandb":
        return WandbLogger(name=f"{folder.parent.name} {stage}", save_dir=folder, project="inlay")
    if name == "mlflow":
        return MLFlowLogger(experiment_name="inlay", run_name=f"{folder.parent.name} {stage}", save_dir=str(folder))
    return CSVLogger(folder, name=f"{stage}-csv")
