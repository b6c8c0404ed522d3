"""Train a system: its stages one after the other, then the bundle, then the held-out table. Lightning does the loop."""

from __future__ import annotations

import logging
import signal
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.hub.manifest import TrainingSpec
from inlay.recipes.backbones import backbone_from
from inlay.recipes.callbacks import FiniteLoss, GradientAudit, LabelAudit, PartTable, RandomState, Speed
from inlay.recipes.data.features import FeatureCache, fits_in
from inlay.recipes.data.module import StageData
from inlay.recipes.data.read import read_samples
from inlay.recipes.data.sample import Sample
from inlay.recipes.evaluate import Column, Scores, answer_all, answer_blind, answer_oracle, as_rows, score, score_table
from inlay.recipes.miniature.build import build
from inlay.recipes.miniature.judge import caption_accuracy
from inlay.recipes.recipe import Recipe, Stage
from inlay.recipes.run_folder import RunFolder
from inlay.recipes.settings import BackboneSettings, DataSettings, RunSettings, SettingsError
from inlay.recipes.stages.next_token import NextToken

__all__ = ["Job", "load_data", "train"]

NOTICES = (
    # Media are decoded once, into the feature cache; more processes would only take the cores from the training loop.
    "The 'train_dataloader' does not have many workers",
    # That is what --resume is for.
    "Checkpoint directory .* exists and is not empty",
    # lightning 2.6 flattens its loaders with torch's old spelling.
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
)
"""Remarks of Lightning that a user of inlay can do nothing about."""

JUDGED = 250
"""Held-out captions that are written and judged after *align*: enough to know the share to three points."""

PACKAGES = ("inlay", "torch", "transformers", "peft", "lightning")


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that a run is made of."""

    recipe: Recipe
    run: RunSettings
    backbone: BackboneSettings
    data: DataSettings


def load_data(data: DataSettings, folder: RunFolder, seed: int) -> dict[str, list[Sample]]:
    """Samples by file: ``align``, ``train``, ``test``; without files the miniature's, written first.

    Raises:
        DataError: a file, an item or a medium that cannot be used, before anything is trained.
    """
    if data.train is None:
        if not (folder.data / "test.json").exists():
            build(folder.data, seed)
        data = DataSettings(
            align=folder.data / "align.json",
            train=folder.data / "train.json",
            test=folder.data / "test.json",
            images=folder.data / "images",
        )
    files = {"align": data.align or data.train, "train": data.train, "test": data.test}
    own = folder.data / "align_test.json"
    files["align_test"] = own if own.exists() else None
    return {kind: read_samples(path, data.images or path.parent) for kind, path in files.items() if path is not None}


def train(job: Job, show: Callable[[str], None] = print) -> dict[str, Any]:
    """Run every stage, save the bundle, measure it.

    Args:
        job: what to do.
        show: where lines for the user go.

    Returns:
        What ``metrics.json`` holds.
    """
    started = time.perf_counter()
    folder = RunFolder(job.run.output)
    if job.data.train is None and job.backbone.llm is not None:
        raise SettingsError(
            "data: --data.train is needed with a backbone of your own (the embedded world is for the miniature)"
        )
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    seed_everything(job.run.seed, verbose=False)
    samples = load_data(job.data, folder, job.run.seed)
    backbone = backbone_from(job.backbone)
    layout = job.recipe.layout
    columns: dict[Column, Scores] = {}
    test = samples.get("test", []) if job.run.evaluate else []
    described = [sample for sample in test if sample.description]
    oracle = score(answer_oracle(backbone, layout, described)) if described else None

    adapter = job.recipe.adapter(backbone, job.run.name or job.run.output.name)
    model = adapter.attach(backbone)
    speeds = {}
    captions = None
    caches: dict[str, FeatureCache] = {}
    for name, stage in job.recipe.stages.items():
        rows = samples[stage.data]
        cache = _cache(caches, stage, backbone, [*rows, *test, *samples.get("align_test", [])], job.data.cache_mib)
        show(f"\nstage {name}: {len(rows)} samples, {stage.steps(len(rows))} steps of {stage.batch_size}")
        speeds[name] = _fit(
            job,
            name,
            stage,
            model,
            StageData(rows, model, stage, seed=job.run.seed, features=cache, workers=job.data.workers),
            folder,
            show,
        )
        if stage.data == "align" and job.run.evaluate and "align_test" in samples:
            captions = caption_accuracy(model, stage.layout, samples["align_test"][:JUDGED], cache)
            show(f"captions right after {name}: {100 * captions:.1f} %")

    adapter.round_to("bfloat16")
    figures: dict[str, Any] = {"seed": job.run.seed, "samples_per_second": speeds}
    if test:
        answered = answer_all(model, test, features=caches.get(layout.geometry["image"]))
        folder.write_answers(as_rows(answered, folder.root))
        columns["adapter"] = score(answered)
        columns["blind"] = score(answer_blind(model, test))
        if oracle is not None:
            columns["oracle"] = oracle
        figures |= {"accuracy": columns["adapter"].overall, "blind": columns["blind"].overall}
        figures |= {"oracle": oracle.overall} if oracle is not None else {}
        figures["by_type"] = {
            kind: {c: s.by_type.get(kind) for c, s in columns.items()} for kind in columns["adapter"].by_type
        }
    if captions is not None:
        figures["captions_after_align"] = captions
    adapter.training_facts = _facts(job, samples, figures)
    adapter.save_pretrained(folder.bundle, overwrite=folder.bundle.exists())
    figures["bundle_bytes"] = sum(path.stat().st_size for path in folder.bundle.rglob("*") if path.is_file())
    figures["seconds"] = round(time.perf_counter() - started, 1)
    folder.write_metrics(figures)
    if columns:
        show("\nVQA accuracy on held-out pictures, in percent\n" + score_table(columns))
    show(f"\nbundle: {folder.bundle} ({figures['bundle_bytes']:,} bytes), {figures['seconds']} s in all")
    return figures


def _cache(
    caches: dict[str, FeatureCache], stage: Stage, backbone: Backbone, samples: Sequence[Sample], mib: int
) -> FeatureCache | None:
    """Features of all samples, one cache a geometry, as far as the memory budget allows."""
    if not fits_in(samples, backbone, mib << 20):
        return None
    cache = caches.setdefault(stage.geometry, FeatureCache(backbone, stage.geometry))
    cache.fill(samples)
    return cache


def _fit(
    job: Job,
    name: str,
    stage: Stage,
    model: AttachedModel,
    data: StageData,
    folder: RunFolder,
    show: Callable[[str], None],
) -> float:
    """One stage under Lightning; returns samples per second."""
    speed = Speed()
    checkpoint = folder.checkpoint(name)
    saver = ModelCheckpoint(
        dirpath=checkpoint.parent,
        filename="last",
        every_n_train_steps=job.run.checkpoint_every,
        enable_version_counter=False,
        save_top_k=1,
    )
    trainer = Trainer(
        max_steps=data.steps,
        max_epochs=-1,
        accumulate_grad_batches=stage.accumulate,
        gradient_clip_val=stage.clip or None,
        accelerator=job.run.accelerator,
        devices=1,
        precision=job.run.precision,
        logger=[
            CSVLogger(folder.logs, name=f"{name}-csv"),
            TensorBoardLogger(folder.logs, name=name),
        ],
        callbacks=[
            PartTable(show),
            LabelAudit(model.backbone.llm.tokenizer, show),
            GradientAudit(),
            FiniteLoss(),
            RandomState(),
            speed,
            saver,
            TQDMProgressBar(refresh_rate=20),
        ],
        log_every_n_steps=10,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    module = NextToken(model, stage, data.steps)
    resume = checkpoint if job.run.resume and checkpoint.exists() else None
    with warnings.catch_warnings():
        for notice in NOTICES:
            warnings.filterwarnings("ignore", message=notice)
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        except SystemExit as stop:
            # Lightning makes an exit of Ctrl-C, and leaves the signal ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from stop
    trainer.save_checkpoint(checkpoint)
    return round(speed.samples / speed.seconds, 1) if speed.seconds else 0.0


def _facts(job: Job, samples: Mapping[str, Sequence[Sample]], figures: Mapping[str, Any]) -> TrainingSpec:
    """Provenance for the bundle."""
    source = Path(job.data.train).name if job.data.train else "inlay miniature world"
    sizes = ", ".join(f"{len(rows)} {kind}" for kind, rows in samples.items())
    measured = {key: float(figures[key]) for key in ("accuracy", "blind", "oracle") if key in figures}
    return TrainingSpec(
        recipe=job.recipe.system,
        stages=tuple(job.recipe.stages),
        data=f"{source} ({sizes})",
        seed=job.run.seed,
        versions={name: version(name) for name in PACKAGES},
        metrics=measured,
    )
