"""Settings of a training run as typed dataclasses: the fields of the command line and of ``config.yaml``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from inlay.adapters.media.feature_sizes import FeatureSizes
from inlay.hub.safety.text import shown
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.loggers import check_logger

__all__ = ["BackboneSettings", "DataSettings", "Precision", "RunSettings"]

Precision: TypeAlias = Literal["32-true", "bf16-mixed", "bf16-true", "auto"]
"""Precision of a run, see :mod:`inlay.recipes.settings.precision`."""
IDENTIFIED = ("llm", "image", "audio", "video", "generate_image", "generate_audio", "generate_video", "prompt")
"""Fields of the backbone that have a Hub id field."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}/[A-Za-z0-9][\w.\-]{0,95}", re.ASCII)
LARGEST_SEED = (1 << 32) - 1
"""The largest seed of NumPy's generators."""


@dataclass(frozen=True, kw_only=True)
class BackboneSettings:
    """The frozen models; the embedded miniature by default."""

    llm: str | None = None
    """Hub id or folder of the LLM; empty for the embedded miniature."""
    image: str | None = None
    """Hub id or folder of the image encoder; empty for the embedded miniature."""
    audio: str | None = None
    """Hub id or folder of the audio encoder; empty for the system's default, if any."""
    video: str | None = None
    """Hub id or folder of the video encoder; empty for the system's default, if any."""
    features: str | None = None
    """Width and tokens of precomputed features in the data, such as ``64x16``; ``64x1-16`` for up to 16 tokens;
    ``64x16:NAME`` names their origin. Without --backbone.image there is then no image encoder."""
    generate_image: str | None = None
    """Hub id or folder of a Stable Diffusion model that generates images; empty for the system's default, if any."""
    generate_audio: str | None = None
    """Hub id or folder of an AudioLDM model that generates audio; empty for the system's default, if any."""
    generate_video: str | None = None
    """Hub id or folder of a text-to-video model; empty for the system's default, if any."""
    prompt: str | None = None
    """Hub id or folder of the tokenizer for captions and instruction-aware projectors; empty for the default."""
    qformer: str | None = None
    """A frozen Q-Former after the image encoder: a bundle or run folder with one, or ``same`` for the one in the image
    encoder's own BLIP-2 checkpoint; empty for the system's default."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of the frozen models; auto: bfloat16 on a CUDA GPU that supports it, float32 elsewhere."""
    quantise: Literal["nf4", "int8"] | None = None
    """Quantise the LLM's linear layers to 4 or 8 bits (``pip install 'inlay[quantised]'``); empty for none, or for the
    quantisation recorded in a bundle."""
    layer: int | None = None
    """Index of the image encoder's hidden states that are the features; empty for the default of its family."""
    class_token: Literal["keep", "drop", "none"] | None = None
    """Keep or drop the image encoder's class token; empty for the default of its family."""
    safetensors_only: bool = False
    """Refuse models whose weights are pickles (``pytorch_model.bin``); otherwise only tensors are read from them."""
    llm_id: str | None = None
    """Hub id of the model whose local copy ``llm`` is, such as ``lmsys/vicuna-7b-v1.5``: the bundle and its card name
    it instead of the folder."""
    image_id: str | None = None
    """Hub id of the model whose local copy ``image`` is."""
    audio_id: str | None = None
    """Hub id of the model whose local copy ``audio`` is."""
    video_id: str | None = None
    """Hub id of the model whose local copy ``video`` is."""
    generate_image_id: str | None = None
    """Hub id of the model whose local copy ``generate_image`` is."""
    generate_audio_id: str | None = None
    """Hub id of the model whose local copy ``generate_audio`` is."""
    generate_video_id: str | None = None
    """Hub id of the model whose local copy ``generate_video`` is."""
    prompt_id: str | None = None
    """Hub id of the model whose local copy ``prompt`` is."""

    def __post_init__(self) -> None:
        if self.features is not None:
            FeatureSizes.parse(self.features)
        for field, name in self.ids.items():
            if not _HUB_ID.fullmatch(name):
                raise SettingsError(
                    f"backbone.{field}_id: expected a Hub id, such as lmsys/vicuna-7b-v1.5, got {name!r}"
                )
            if getattr(self, field) is None:
                raise SettingsError(
                    f"backbone.{field}_id: it names a local copy of {name}; give its folder: --backbone.{field}"
                )

    @property
    def ids(self) -> dict[str, str]:
        """Field -> Hub id of the model whose local copy it names."""
        return {field: name for field in IDENTIFIED if (name := getattr(self, f"{field}_id"))}


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Training and test files; by default the miniature's data are generated into the run folder."""

    align: Path | None = None
    """Captioned media (LLaVA, COCO captions, pairs), or webdataset shards to stream, such as
    ``shards/{000..127}.tar``; the training file if not given."""
    train: Path | None = None
    """Conversations or questions (LLaVA, canonical messages, triples, VQA v2 questions)."""
    test: Path | None = None
    """Held-out questions, in the formats of the training file; no evaluation of answers without it."""
    test_size: float | None = None
    """Without a test file: hold out this fraction of the training rows (0.05), or this number of rows (200), without
    pictures that are in both."""
    align_test: Path | None = None
    """Held-out captioned pictures, for caption scores and retrieval."""
    pairs: Path | None = None
    """Preferences for a stage ``prefer`` that is added to another system (``--stages.prefer.objective.name
    preference``); system align reads them as ``train``."""
    pairs_test: Path | None = None
    """Held-out preferences, for the audit of that stage."""
    objects: Path | None = None
    """File of the object classes in the pictures, one per line: class, synonym, synonym. With it, alignment tuning
    counts hallucinated objects in captions of ``align_test`` before and after; the miniature's classes are known."""
    make_test: tuple[Path, ...] = ()
    """Held-out instructions and dialogues in which media are generated."""
    annotations: Path | None = None
    """VQA v2: the annotations of the training questions."""
    test_annotations: Path | None = None
    """VQA v2: the annotations of the held-out questions."""
    answers: int = 10
    """VQA v2: number of human answers per question; an annotation with another number is an error."""
    pattern: str | None = None
    """VQA v2: file name of an image by its number, such as ``COCO_val2014_%012d.jpg``; detected if empty."""
    mix: tuple[Path, ...] = ()
    """More training files for stages with ``data: all``; each is a separate data set."""
    images: Path | None = None
    """Folder of the media files; the folder of each data file if not given."""
    embeddings: Path | None = None
    """NExT-GPT: folder of the captions' embeddings (``.npy``); computed from the captions if not given."""
    streaming: bool = False
    """Read the training rows during training instead of before it, from the Hub or from files, without a local copy;
    stages need max_steps. Held-out files are read before training."""
    shuffle: int = 1000
    """Streams: size of the shuffle buffer, in undecoded samples; 0 keeps the order of the files."""
    invalid: Literal["raise", "skip"] = "raise"
    """Invalid rows and media: ``raise`` stops before the first step and lists them in ``invalid.jsonl``; ``skip``
    leaves them out. Streams are read during training: ``raise`` stops at the first invalid sample."""
    links: bool = False
    """Allow absolute paths and symbolic links that lead out of the media folder."""
    format: str | None = None
    """Name of the format of the data files, such as ``sharegpt`` or ``alpaca``; recognised by their first rows if
    empty. The page "Data" of the documentation lists the names."""
    columns: str | None = None
    """Names of columns in the data files, such as ``question=query,answer=label,image=img``."""
    allow_urls: bool = False
    """Fetch media from http(s) URLs of public hosts and keep them in ``~/.cache/inlay/media``."""
    downscale: bool = False
    """Downscale pictures and clips that are too large, up to half a gigapixel, instead of refusing them."""
    max_length: int | None = None
    """Limit on the positions of a training row, media included; the LLM's context if empty."""
    too_long: Literal["raise", "skip", "cut"] = "raise"
    """Rows longer than max_length or the context: ``raise`` treats them as invalid rows; ``skip`` leaves them out;
    ``cut`` trains on their beginning, and leaves out a row if media or all of its answers would be cut off."""
    workers: int = 0
    """Number of processes that load media."""
    cache_mib: int = 2048
    """Memory for cached frozen features in MiB; features that do not fit are computed in every step. 0: no cache."""
    cache_dir: Path | None = None
    """Folder of a cache of frozen features and signal-token states that runs can share, such as
    ``~/.cache/inlay/features``; in memory only if not given."""
    cache_disk_mib: int = 65536
    """Size limit of ``cache_dir`` in MiB; the least recently used files are removed first."""

    def __post_init__(self) -> None:
        for notes, name in ((self.annotations, "train"), (self.test_annotations, "test")):
            if notes is not None and getattr(self, name) is None:
                field = "annotations" if name == "train" else "test_annotations"
                raise SettingsError(f"data: --data.{field} needs its questions: give --data.{name} too")
        if self.answers < 1 or self.shuffle < 0 or self.workers < 0 or self.cache_mib < 0:
            raise SettingsError("data: expected answers >= 1, and shuffle, workers and cache_mib >= 0")
        if self.test_size is not None:
            if self.test is not None:
                raise SettingsError("data: test_size: there is a test file (--data.test); remove one of them")
            if self.test_size <= 0 or (self.test_size >= 1 and self.test_size % 1):
                raise SettingsError(
                    f"data: test_size: expected a fraction below 1 or a number of rows, got {self.test_size:g}"
                )
        if self.streaming:
            known = ("test_size", "annotations", "mix", "embeddings")
            if given := [name for name in known if getattr(self, name)]:
                raise SettingsError(f"data: streaming: {given[0]} needs all rows before training; remove one of them")
            if self.train is None:
                raise SettingsError("data: streaming: there is no training file to stream; give --data.train too")
        if self.max_length is not None and self.max_length < 1:
            raise SettingsError(f"data: max_length: expected at least 1, got {self.max_length}")
        if self.cache_disk_mib < 1:
            raise SettingsError("data: cache_disk_mib: expected at least 1; remove cache_dir for no cache on disk")

    def check_drawn(self) -> None:
        """Check that other files are given only together with ``train``.

        Raises:
            SettingsError: names the settings.
        """
        names = ("align", "test", "test_size", "align_test", "mix", "make_test", "images")
        if self.train is None and (given := [name for name in names if getattr(self, name)]):
            raise SettingsError(f"data: {', '.join(given)}: these files need --data.train; give it too")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of the run itself."""

    output: Path
    """Run folder: bundle/, metrics.json, logs/, checkpoints/, config.yaml, digests.json, data/ (miniature)."""
    name: str = ""
    """Name of the adapter; the name of the run folder if empty."""
    seed: int = 0
    """Seed of generated data, initial weights and the order of the samples."""
    begin: Path | None = None
    """A bundle or run folder with the same projectors, to initialise the adapter's weights; system align continues
    training its whole adapter."""
    resume: bool = False
    """Continue an interrupted run in the same folder."""
    overwrite: bool = False
    """Replace an earlier run in the same folder: it is moved aside until this run has finished, and restored if it
    fails. Other files in the folder are kept."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Device to train on; auto uses a GPU (CUDA, or MPS on a Mac) if there is one."""
    devices: int = 1
    """Number of processes on this machine, one per GPU, that share every batch; each runs this program again. Use
    torchrun for several machines, see the page "Several devices" of the documentation."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """With several processes: each holds the whole frozen LLM (ddp) or a shard of it (fsdp, GPUs only)."""
    template: str = "auto"
    """Conversation template of the stages with template auto: the LLM's own chat template if --backbone.llm has one,
    otherwise vicuna_v1; or the name of a template, such as vicuna_v1, the paper's."""
    precision: Precision = "32-true"
    """bf16-true: frozen LLM and activations in bfloat16, trained weights in float32 in the optimizer; bf16-mixed:
    autocast with unchanged frozen models; auto: bf16-true if a timed matrix product is faster in it, else 32-true."""
    recompute: bool | Literal["auto"] = "auto"
    """Gradient checkpointing: recompute the activations of the LLM's layers in the backward pass; auto: only if the
    memory plan does not fit."""
    compile: bool = False
    """Compile the LLM's layers with torch.compile. Compiled code rounds differently, so a resumed run is not
    bit-equal to an uninterrupted one."""
    dtype: Literal["bfloat16", "int8"] = "bfloat16"
    """Data type of the bundle's weights. int8: projectors with one scale per row, if the held-out loss rises by at most
    0.1 %; otherwise the bundle stays in bfloat16."""
    checkpoint_every: int = 200
    """Number of optimizer steps between checkpoints."""
    logger: str = "csv,tensorboard"
    """Comma-separated loggers of the training metrics: csv, tensorboard, wandb, mlflow."""
    evaluate: bool = True
    """Answer held-out questions at the end and in each validation."""
    metric: str = "auto"
    """Metric of the answers; auto selects one by the data. See ``inlay evaluate --help`` for the names."""
    eval_batch_size: int | None = None
    """Batch size of evaluations; if empty, as large as the memory allows, and at most 64."""
    validate_every: float = 0.25
    """Interval between validations: optimizer steps, or a share of the stage if below 1; 0: only at the end of the
    stage. Logs val/loss and val/METRIC of held-out data; training is the same with and without validation."""
    validate_samples: int = 64
    """Number of held-out samples of a validation, evenly spaced over their file; 0: no validation."""
    patience: int = 0
    """Early stopping: end a stage after this many validations without a lower loss, with its best weights; 0: never."""
    best: bool = False
    """Use the weights with the lowest validation loss of each stage (checkpoints/STAGE/best.ckpt)."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= LARGEST_SEED:
            raise SettingsError(f"seed: expected a number from 0 to {LARGEST_SEED}, got {shown(self.seed)}")
        for name in self.logger.split(","):
            check_logger(name.strip())
        if self.devices < 1:
            raise SettingsError(f"devices: expected at least 1, got {self.devices}")
        if self.validate_every < 0 or self.validate_samples < 0 or self.patience < 0:
            raise SettingsError("validate_every, validate_samples and patience: expected at least 0")
        if self.validate_every > 1 and self.validate_every != int(self.validate_every):
            raise SettingsError(f"validate_every: expected a share below 1 or whole steps, got {self.validate_every}")
        if (self.patience or self.best) and not self.validate_samples:
            raise SettingsError("patience, best: these settings need validations; set validate_samples above 0")
        if self.eval_batch_size is not None and self.eval_batch_size < 1:
            raise SettingsError(f"eval_batch_size: expected at least 1, got {self.eval_batch_size}")
        if self.compile and self.recompute is True:
            raise SettingsError("compile, recompute: compiled layers cannot be recomputed; remove one of them")
