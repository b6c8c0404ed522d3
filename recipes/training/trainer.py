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
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.distributed.ranks import first, local_world, rank, world
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.precision import autocast_of
from inlay.recipes.settings.recipe import Stage
from inlay.recipes.settings.run import RunSettings
from inlay.recipes.training.callbacks import (
    CompileWatch,
    FiniteLoss,
    GradientAudit,
    LabelAudit,
    PartTable,
    RandomState,
    ReachedParts,
    Speed,
)
from inlay.recipes.training.callbacks.memory_watch import MemoryWatch
from inlay.recipes.training.callbacks.validation import (
    Answers,
    BestCheckpoint,
    LastCheckpoint,
    Patience,
    Validation,
    use_best,
)
from inlay.recipes.training.checkpoints import AtomicCheckpoints, intact

__all__ = ["Fitted", "fit", "seed_stage"]

NOTICES = (
    # Media are decoded once, into the feature cache; more processes would only take the cores from the training loop.
    "The '(train|val)_dataloader' does not have many workers",
    # With --resume true it is.
    "Checkpoint directory .* exists and is not empty",
    # lightning 2.6 flattens its loaders with torch's old spelling.
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    # torch.compile's own tracing.
    "The .grad attribute of a Tensor that is not a leaf",
)
"""Warnings of Lightning and torch that a user of inlay cannot act on."""


def seed_stage(seed: int, name: str) -> None:
    """Seed torch's random numbers for a stage.

    They must not depend on how an earlier stage ended, which a resumed run skips. Numbers drawn before training, such
    as first weights, are the same in all processes; :func:`fit` seeds each process for training.
    """
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7], "big"))


class _ProgressBar(TQDMProgressBar):
    """Lightning's, without a bar of its own for each validation."""

    def init_validation_tqdm(self) -> Tqdm:
        """A bar that shows nothing."""
        return Tqdm(disable=True)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Figures of a stage that has been trained."""

    speed: float
    """Samples per second."""
    memory: dict[str, int]
    """Planned and measured memory in bytes, where there was a plan."""
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
) -> Fitted:
    """Train one stage, or resume it.

    Args:
        module: the training module.
        data: its batches.
        name: of the stage.
        stage: accumulation, gradient norm.
        run: checkpoints, precision, accelerator, whether to resume.
        folder: for logs and checkpoints.
        labels: prints the first samples with their labels.
        show: prints a line for the user.
        answers: scores answers to held-out questions in each validation.
    """
    speed, memory = Speed(), MemoryWatch(data, run.recompute, show)
    checkpoint = folder.checkpoint(name)
    validation = Validation(run, data.steps, answers, show) if data.validation is not None else None
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
    if rank():  # Each process has its own dropout; the first draws the numbers of a single process.
        seed_stage(run.seed, f"{name} process {rank()}")
    trainer = Trainer(
        max_steps=data.steps,
        max_epochs=-1,
        accumulate_grad_batches=stage.accumulate,
        gradient_clip_val=stage.clip or None,
        accelerator=run.accelerator,
        devices=local_world(),
        num_nodes=world() // local_world(),
        # Every trained parameter is in the graph of every batch, so DDP need not look for unused ones.
        strategy="auto" if world() == 1 else DDPStrategy(gradient_as_bucket_view=True, forward_sync_buffers=False),
        plugins=[AtomicCheckpoints(), *([] if world() == 1 else [TorchElasticEnvironment()])],
        use_distributed_sampler=False,
        precision=autocast_of(run.precision),
        logger=[
            CSVLogger(folder.logs, name=f"{name}-csv"),
            TensorBoardLogger(folder.logs, name=name),
        ],
        callbacks=[
            PartTable(show),
            labels,
            GradientAudit(),
            FiniteLoss(),
            ReachedParts(show),
            RandomState(None if world() == 1 else torch.get_rng_state()),
            speed,
            memory,
            CompileWatch(run.compile, show),
            *watchers,
            saver,
            _ProgressBar(refresh_rate=20),
        ],
        log_every_n_steps=min(10, data.steps),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=None if validation is not None else 0,
        check_val_every_n_epoch=None,  # Validation decides when.
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
            # Lightning turns Ctrl-C into SystemExit, and leaves the signal ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from stop
    trainer.save_checkpoint(checkpoint)
    if validation is not None and (run.best or run.patience):
        use_best(module, best, show)
    module.to(place)  # Lightning moves it to the CPU, and leaves the frozen models where they are.
    return Fitted(
        speed=round(speed.samples / speed.seconds, 1) if speed.seconds else 0.0,
        memory=memory.figures,
        validation=validation.history if validation is not None else [],
    )
