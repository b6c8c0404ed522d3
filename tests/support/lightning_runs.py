"""Lightning's trainer without output, runs that are saved and resumed, and the number of an LLM's forward passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from inlay.recipes.training.callbacks import RandomState

__all__ = ["count_llm_runs", "fit_saved", "silent_trainer"]


def silent_trainer(**options: Any) -> Trainer:
    """A trainer on the CPU without logger, progress bar, summary and checkpoints, unless the options say otherwise."""
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return Trainer(**{"accelerator": "cpu", **quiet, **options})


def fit_saved(
    module: Any, data: Any, folder: Path, *callbacks: Callback, stop: int, every: int = 2, resume: bool = False
) -> None:
    """Train to a step, from the last checkpoint on if asked to; ``last.ckpt`` is written every few steps."""
    saved = ModelCheckpoint(folder, filename="last", every_n_train_steps=every, enable_version_counter=False)
    trainer = silent_trainer(
        max_steps=stop,
        accumulate_grad_batches=data.stage.accumulate,
        enable_checkpointing=True,
        callbacks=[RandomState(), *callbacks, saved],
    )
    trainer.fit(module, datamodule=data, ckpt_path=folder / "last.ckpt" if resume else None, weights_only=True)
    assert trainer.global_step == stop


def count_llm_runs(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with every run of the LLM's body."""
    runs: list[int] = []
    body = model.backbone.llm.model.base_model
    whole = body.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        runs.append(1)
        return whole(*args, **kwargs)

    monkeypatch.setattr(body, "forward", counted)
    return runs
