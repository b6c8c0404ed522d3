"""Training from Python: a recipe, data and settings, with custom callbacks, loggers and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.parts.registration import IMPORT_OWN
from inlay.recipes.runs.begin import on_miniature
from inlay.recipes.runs.job import Job
from inlay.recipes.settings.default_models import MINIATURE
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.recipe import Recipe
from inlay.recipes.settings.run import BackboneSettings, DataSettings, Precision, RunSettings
from inlay.recipes.systems.registry import SYSTEMS
from inlay.recipes.training.extras import Extras, LoggerChoice, OptimizerFactory
from inlay.recipes.training.run import train as train_job

__all__ = ["Run", "finetune"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run."""

    folder: Path
    """The run folder: ``bundle/``, ``config.yaml``, ``metrics.json``, ``logs/``, ``checkpoints/``."""
    metrics: Mapping[str, Any]
    """The content of ``metrics.json``; empty in all processes but the first."""

    @property
    def bundle(self) -> Path:
        """The folder of the bundle."""
        return self.folder / "bundle"

    def adapter(self) -> Adapter:
        """The trained adapter, read from the bundle, in eval mode."""
        return Adapter.from_pretrained(self.bundle)


def finetune(
    recipe: Recipe | str,
    *,
    output: str | Path = "",
    train: str | Path | None = None,
    align: str | Path | None = None,
    test: str | Path | None = None,
    images: str | Path | None = None,
    data: DataSettings | None = None,
    begin: str | Path | None = None,
    backbone: Backbone | BackboneSettings | None = None,
    callbacks: Sequence[Callback] = (),
    logger: LoggerChoice = ("csv", "tensorboard"),
    trainer: Mapping[str, Any] | None = None,
    optimizer: OptimizerFactory | None = None,
    metric: str = "auto",
    name: str = "",
    seed: int = 0,
    precision: Precision = "32-true",
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    devices: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    settings: RunSettings | None = None,
    show: Callable[[str], None] = print,
) -> Run:
    """Train every stage of a recipe, save the bundle and evaluate it.

    Args:
        recipe: a recipe such as ``llava.recipe(size="full")``, or the name of a system for its default recipe.
        output: the run folder; required without ``settings``.
        train: file of instructions; the miniature's data if neither this nor ``data`` is given.
        align: file of captioned pictures; ``train`` if not given.
        test: file of held-out questions.
        images: folder of the media; the folder of each file if not given.
        data: all data settings, instead of the four above.
        begin: a run or bundle whose adapter system ``align`` trains further, or whose projectors initialise a new one.
        backbone: frozen models, or their sources; the embedded miniature if not given.
        callbacks: Lightning callbacks, used in every stage.
        logger: ``csv``, ``tensorboard``, ``wandb``, ``mlflow``, Lightning loggers, or several of them.
        trainer: arguments of :class:`lightning.pytorch.Trainer`, such as ``{"max_steps": 200}``.
        optimizer: parameter groups -> optimizer; AdamW if not given.
        metric: metric of the held-out answers; ``auto`` chooses by the data.
        name: name of the adapter; the name of the run folder if empty.
        seed: seed of generated data, initial weights and the order of the samples.
        precision: see :mod:`inlay.recipes.settings.precision`.
        accelerator: device to train on.
        devices: number of processes on this machine, one per GPU; only in a script, which each process runs again.
        resume: continue an interrupted run in the same folder.
        overwrite: replace an earlier run in the same folder.
        settings: all settings of the run, instead of the eight above, ``begin`` and ``output``.
        show: prints a line for the user.

    Raises:
        SettingsError: settings contradict each other, or the output folder has an earlier run.
        DataError: invalid rows or media.

    Example:
        >>> from inlay.recipes import finetune, llava  # doctest: +SKIP
        >>> run = finetune(llava.recipe(), train="train.json", images="images", output="runs/mine")  # doctest: +SKIP
        >>> run.metrics["accuracy"], run.adapter()  # doctest: +SKIP
    """
    if isinstance(recipe, str):
        if recipe not in SYSTEMS:
            raise SettingsError(f"finetune: expected one of {', '.join(SYSTEMS)}, got {recipe!r}; {IMPORT_OWN}")
        # As on the command line: the published settings for models of the user's own.
        source = backbone.llm.source if isinstance(backbone, Backbone) else backbone and backbone.llm
        own = bool(source) and not str(source).startswith(MINIATURE)
        if not source and SYSTEMS[recipe].recipe().continues:
            own = not on_miniature(Path(begin or (settings and settings.begin) or ""))
        chosen = SYSTEMS[recipe].recipe(size="full" if own else "miniature")
    else:
        chosen = recipe
    if settings is None and not output:
        raise SettingsError("finetune: expected the folder of the run (output=...)")
    files = [None if path is None else Path(path) for path in (train, align, test, images)]
    job = Job(
        recipe=chosen,
        run=settings
        or RunSettings(
            output=Path(output),
            name=name,
            metric=metric,
            seed=seed,
            begin=None if begin is None else Path(begin),
            precision=precision,
            accelerator=accelerator,
            devices=devices,
            resume=resume,
            overwrite=overwrite,
        ),
        backbone=backbone if isinstance(backbone, BackboneSettings) else BackboneSettings(),
        data=data or DataSettings(train=files[0], align=files[1], test=files[2], images=files[3]),
    )
    models = backbone if isinstance(backbone, Backbone) else None
    extras = Extras(callbacks=callbacks, logger=logger, trainer=trainer or {}, optimizer=optimizer)
    metrics = train_job(job, show, backbone=models, extras=extras)
    return Run(folder=job.run.output, metrics=metrics)
