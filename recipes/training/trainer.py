"""One stage under Lightning: loggers, audits, checkpoints, resuming."""

from __future__ import annotations

import hashlib
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy

from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.distributed.ranks import first, local_world, rank, world
from inlay.recipes.objectives.step_module import StepModule
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.precision import autocast_of, device_of
from inlay.recipes.settings.run import RunSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.training.callbacks import (
    CompileLayers,
    FiniteLoss,
    GradientAudit,
    LabelAudit,
    Meters,
    PartTable,
    RandomState,
    ReachedParts,
)
from inlay.recipes.training.callbacks.memory_watch import MemoryWatch
from inlay.recipes.training.callbacks.random_state import random_states
from inlay.recipes.training.callbacks.stage_progress import StageProgress
from inlay.recipes.training.callbacks.validation import (
    Answers,
    BestCheckpoint,
    LastCheckpoint,
    Patience,
    Validation,
    use_best,
)
from inlay.recipes.training.checkpoints import AtomicCheckpoints, intact
from inlay.recipes.training.extras import Extras

__all__ = ["Fitted", "fit", "seed_stage"]

NOTICES = (
    # Media are decoded once, into the feature cache, so more loader processes would only compete with training.
    "The '(train|val)_dataloader' does not have many workers",
    # Expected with --resume true.
    "Checkpoint directory .* exists and is not empty",
    # Lightning 2.6 uses a deprecated function of torch.
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    # Raised inside torch.compile.
    "The .grad attribute of a Tensor that is not a leaf",
)
"""Warnings of Lightning and torch that a user of inlay cannot act on."""


def seed_stage(seed: int, name: str) -> None:
    """Seed torch's random numbers for a stage.

    The seed does not depend on earlier stages, which a resumed run skips. Initial weights are the same in all
    processes; :func:`fit` then seeds each process for training.
    """
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7], "big"))


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Figures of a trained stage."""

    speed: float
    """Samples per second."""
    memory: dict[str, int]
    """Planned and measured memory in bytes; empty without a plan."""
    validation: list[dict[str, float]]
    """Step, loss and metric of each validation."""


def fit(
    module: LightningModule,
    data: StepData,
    *,
    name: str,
    stage: Stage,
    run: RunSettings,
    folder: RunFolder,
    labels: LabelAudit,
    show: Callable[[str], None],
    answers: Answers | None = None,
    extras: Extras = Extras(),  # noqa: B008 - frozen
) -> Fitted:
    """Train one stage, or resume it.

    Args:
        module: the training module.
        data: its batches.
        name: name of the stage.
        stage: settings of the stage.
        run: settings of the run.
        folder: run folder, for logs and checkpoints.
        labels: prints the first samples with their labels.
        show: prints a line for the user.
        answers: scores answers to held-out questions in each validation.
        extras: the user's callbacks, loggers, Trainer arguments and optimizer.
    """
    sizes = sum(getattr(data, "sizes", ()))
    speed, memory = Meters(sizes, stage.batch_size), MemoryWatch(data, run.recompute, show)
    checkpoint = folder.checkpoint(name)
    steps = int(extras.trainer.get("max_steps", data.steps))
    validation = Validation(run, steps, answers, show) if data.validation is not None else None
    best, watchers = BestCheckpoint(checkpoint.parent), list[Callback]()
    if validation is not None:
        watchers += [validation, best, *([Patience(run.patience, show)] if run.patience else [])]
    elif run.patience or run.best:
        show(f"stage {name} has no held-out data, so it has no best checkpoint and does not stop early")
    saver = LastCheckpoint(
        validation,
        dirpath=checkpoint.parent,
        filename="last",
        every_n_train_steps=run.checkpoint_every,
        enable_version_counter=False,
        save_top_k=1,
    )
    if rank():  # Each process has its own dropout; the first has that of a single process.
        seed_stage(run.seed, f"{name} process {rank()}")
    if extras.optimizer is not None and isinstance(module, StepModule):
        module.make_optimizer = extras.optimizer
    chosen = {
        "max_steps": data.steps,
        "log_every_n_steps": min(10, data.steps),
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        **extras.trainer,
    }
    trainer = Trainer(
        **chosen,
        max_epochs=-1,
        accumulate_grad_batches=stage.accumulate,
        gradient_clip_val=stage.optimizer.clip or None,
        accelerator=device_of(run.accelerator).type,
        devices=local_world(),
        num_nodes=world() // local_world(),
        # All trained parameters are in the graph of every batch, so DDP need not search for unused ones.
        strategy="auto" if world() == 1 else DDPStrategy(gradient_as_bucket_view=True, forward_sync_buffers=False),
        plugins=[AtomicCheckpoints(), *([] if world() == 1 else [TorchElasticEnvironment()])],
        use_distributed_sampler=False,
        precision=autocast_of(run.precision),
        logger=extras.loggers(folder.logs, name),
        callbacks=[
            PartTable(show),
            labels,
            GradientAudit(),
            FiniteLoss(),
            ReachedParts(show),
            RandomState(None if world() == 1 else random_states()),
            speed,
            memory,
            *([CompileLayers(show)] if run.compile else []),
            *watchers,
            saver,
            StageProgress(name, steps),
            *extras.callbacks,
        ],
        limit_val_batches=None if validation is not None else 0,
        check_val_every_n_epoch=None,  # The callback Validation decides.
        val_check_interval=1,
        inference_mode=False,
    )
    place = next(module.parameters()).device
    resume = first(partial(intact, checkpoint, show)) if run.resume else None
    with warnings.catch_warnings():
        for notice in NOTICES:
            warnings.filterwarnings("ignore", message=notice)
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        except SystemExit as stop:
            # Lightning turns Ctrl-C into SystemExit and ignores further signals; restore the handler.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from stop
    trainer.save_checkpoint(checkpoint)
    if validation is not None and (run.best or run.patience):
        use_best(module, best, show)
    module.to(place)  # Lightning moved it to the CPU, but not the frozen models.
    return Fitted(
        speed=round(speed.samples / speed.seconds, 1) if speed.seconds else 0.0,
        memory=memory.figures,
        validation=validation.history if validation is not None else [],
    )
