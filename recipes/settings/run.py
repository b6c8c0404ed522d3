"""What a training run can be told, as typed dataclasses: the fields of the command line and of ``config.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from inlay.hub.safety.text import shown
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.loggers import check_logger

__all__ = ["BackboneSettings", "DataSettings", "Precision", "RunSettings"]

Precision: TypeAlias = Literal["32-true", "bf16-mixed", "bf16-true", "auto"]
"""See :mod:`inlay.recipes.settings.precision`."""
LARGEST_SEED = (1 << 32) - 1
"""NumPy's generators take no larger seed."""


@dataclass(frozen=True, kw_only=True)
class BackboneSettings:
    """The frozen models. Without names: the embedded miniature."""

    llm: str | None = None
    """Hub id or folder of the LLM; empty for the embedded miniature."""
    image: str | None = None
    """Hub id or folder of the image encoder; empty for the embedded miniature."""
    audio: str | None = None
    """Hub id or folder of the encoder of sounds; empty for the system's own, if it has one."""
    video: str | None = None
    """Hub id or folder of the encoder of clips; empty for the system's own, if it has one."""
    generate_image: str | None = None
    """Hub id or folder of a Stable Diffusion, for what is drawn; empty for the system's own, if it has one."""
    generate_audio: str | None = None
    """Hub id or folder of an AudioLDM, for what is heard; empty for the system's own, if it has one."""
    generate_video: str | None = None
    """Hub id or folder of a text-to-video model; empty for the system's own, if it has one."""
    prompt: str | None = None
    """Hub id or folder of the tokenizer of captions and of projectors that read; empty for the system's own."""
    qformer: str | None = None
    """A frozen Q-Former behind the image encoder: a bundle or run folder that holds one, or ``same`` for the one in
    the image encoder's own BLIP-2 checkpoint; empty for the system's own."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of the frozen models; auto is bfloat16 on a CUDA GPU that supports it, and float32 elsewhere."""
    quantise: Literal["nf4", "int8"] | None = None
    """The LLM's linears in 4 or 8 bits (``pip install 'inlay[quantised]'``); empty for none, or for what a bundle says
    that it was trained on."""
    layer: int | None = None
    """Hidden states of the image encoder; empty for its family's default."""
    class_token: Literal["keep", "drop"] | None = None
    """What happens to the encoder's class token; empty for its family's default."""
    safetensors_only: bool = False
    """Refuse models whose weights are pickles (``pytorch_model.bin``); otherwise they are read as tensors alone."""

    def __post_init__(self) -> None:
        if (self.llm is None) != (self.image is None):
            raise SettingsError("backbone: give both --backbone.llm and --backbone.image, or neither for the miniature")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Files to learn from. Without names: the miniature's world, written into the run folder."""

    align: Path | None = None
    """Captioned pictures (LLaVA, COCO captions, pairs), or webdataset shards that are read as a stream, such as
    ``shards/{000..127}.tar``; the training file if not given."""
    train: Path | None = None
    """Conversations or questions (LLaVA, canonical messages, triples), or the questions of VQA v2."""
    test: Path | None = None
    """The same, held out; without it no question is asked."""
    align_test: Path | None = None
    """Captioned pictures, held out, for captions and retrieval."""
    make_test: tuple[Path, ...] = ()
    """Instructions and dialogues in which something is made, held out."""
    annotations: Path | None = None
    """VQA v2: the annotations of the training questions."""
    test_annotations: Path | None = None
    """VQA v2: the annotations of the held-out questions."""
    answers: int = 10
    """VQA v2: how many people answered each question; an annotation with another number is an error."""
    pattern: str | None = None
    """VQA v2: file name of an image by its number, such as ``COCO_val2014_%012d.jpg``; found by looking if empty."""
    mix: tuple[Path, ...] = ()
    """More training files, for stages that learn from all; each is a data set of its own."""
    images: Path | None = None
    """Folder of the images, sounds and clips; the folder of each file if not given."""
    embeddings: Path | None = None
    """NExT-GPT's data: folder of the captions' embeddings (``.npy``); computed from the captions if not given."""
    shuffle: int = 1000
    """Shards: samples that wait in memory, undecoded, to be drawn from at random; 0 for the order of the files."""
    invalid: Literal["raise", "skip"] = "raise"
    """Rows and media that cannot be used: ``raise`` stops before the first step and lists them in
    ``invalid.jsonl``; ``skip`` leaves them out. Shards are read as they come: ``raise`` stops at the first one."""
    links: bool = False
    """Symbolic links may lead out of the folder of the media."""
    workers: int = 0
    """Processes that load media."""
    cache_mib: int = 2048
    """Memory for cached frozen features; above it the encoder runs in the loop. 0 turns the cache off."""
    cache_dir: Path | None = None
    """Folder in which frozen features, and states of signal tokens, are kept for all runs that name it, such as
    ``~/.cache/inlay/features``; in memory alone if not given."""
    cache_disk_mib: int = 65536
    """Budget of that folder; the least recently used files are removed to keep it."""

    def __post_init__(self) -> None:
        for notes, name in ((self.annotations, "train"), (self.test_annotations, "test")):
            if notes is not None and getattr(self, name) is None:
                field = "annotations" if name == "train" else "test_annotations"
                raise SettingsError(f"data: --data.{field} goes with the questions that it answers: --data.{name}")
        if self.answers < 1 or self.shuffle < 0 or self.workers < 0 or self.cache_mib < 0:
            raise SettingsError("data: answers is at least 1; shuffle, workers and cache_mib are not negative")
        if self.cache_disk_mib < 1:
            raise SettingsError("data: cache_disk_mib is at least 1; leave cache_dir out for a run without that folder")

    def check_drawn(self) -> None:
        """Check that no file is named beside the miniature's data.

        Raises:
            SettingsError: names the settings.
        """
        names = ("align", "test", "align_test", "mix", "make_test", "images")
        if self.train is None and (given := [name for name in names if getattr(self, name)]):
            raise SettingsError(f"data: {', '.join(given)}: files of your own go with --data.train; give that too")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The run itself."""

    output: Path
    """Run folder: bundle/, metrics.json, logs/, checkpoints/, config.yaml, digests.json, data/ (miniature)."""
    name: str = ""
    """Name of the adapter; the name of the run folder if empty."""
    seed: int = 0
    """Of the data, the first weights and the order."""
    begin: Path | None = None
    """A bundle or run folder of the same projector whose weights the adapter begins with."""
    resume: bool = False
    """Go on where an interrupted run in the same folder stopped."""
    overwrite: bool = False
    """Replace an earlier run in the same folder: it is set aside until this one has finished, and comes back if this
    one fails. Files that no run has written stay."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to train; auto takes a GPU (CUDA, or MPS on a Mac) if there is one."""
    devices: int = 1
    """Processes on this machine, one a GPU, that share every batch: the program is started again in each of them.
    Several machines: torchrun, see docs/distributed.md."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Of several processes: each holds the whole frozen LLM, or a shard of it (GPUs)."""
    template: str = "auto"
    """Layout of the stages whose template is auto: the LLM's own chat template where it has one (of an LLM of your
    own), otherwise vicuna_v1; or a template by name, such as vicuna_v1 for the paper's."""
    precision: Precision = "32-true"
    """bf16-true: frozen LLM and activations in bfloat16, what trains in float32 in the optimizer; bf16-mixed: autocast
    over frozen models as they are; auto: bf16-true where one timed matrix product says that it pays, else 32-true."""
    recompute: bool | Literal["auto"] = "auto"
    """Run the LLM's layers a second time instead of keeping their activations; auto: where the plan of the memory says
    that they do not fit."""
    compile: bool = False
    """torch.compile the LLM's layers; cost and gain are measured and shown, and it is switched off where there is none.
    Generated code rounds otherwise, so such a run is not resumed bit for bit."""
    dtype: Literal["bfloat16", "int8"] = "bfloat16"
    """Of the weights in the bundle. int8: projectors with a scale a row, if the held-out loss rises by 0.1 % at most;
    otherwise the bundle stays bfloat16."""
    checkpoint_every: int = 200
    """Optimizer steps between checkpoints."""
    logger: str = "csv,tensorboard"
    """Where figures of the training go: names of loggers with commas between them (csv, tensorboard, wandb, mlflow)."""
    evaluate: bool = True
    """Answer held-out questions, at the end and in validation."""
    metric: str = "auto"
    """How answers are scored: the metric that fits the data, or one by name, see ``inlay evaluate --help``."""
    eval_batch_size: int | None = None
    """Questions in a batch of an evaluation; as many as the memory allows, and 64 at most, if empty."""
    validate_every: float = 0.25
    """Between two validations of a stage: optimizer steps, or below 1 a share of the stage; 0: at its end alone. Loss
    and metric of held-out data are logged as val/loss and val/METRIC; training is the same with and without."""
    validate_samples: int = 64
    """Held-out samples of a validation, spread over their file; 0: no validation."""
    patience: int = 0
    """End a stage after so many validations without a new minimum of the loss, with the best weights; 0: never."""
    best: bool = False
    """Take the weights of the best validation of each stage, checkpoints/STAGE/best.ckpt, instead of the last ones."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= LARGEST_SEED:
            raise SettingsError(f"seed: expected a number from 0 to {LARGEST_SEED}, got {shown(self.seed)}")
        for name in self.logger.split(","):
            check_logger(name.strip())
        if self.devices < 1:
            raise SettingsError(f"devices: expected at least 1, got {self.devices}")
        if self.validate_every < 0 or self.validate_samples < 0 or self.patience < 0:
            raise SettingsError("validate_every, validate_samples and patience are not negative")
        if self.validate_every > 1 and self.validate_every != int(self.validate_every):
            raise SettingsError(f"validate_every: expected a whole number of steps from 1, got {self.validate_every}")
        if (self.patience or self.best) and not self.validate_samples:
            raise SettingsError("patience, best: they compare validations, and validate_samples 0 switches these off")
        if self.eval_batch_size is not None and self.eval_batch_size < 1:
            raise SettingsError(f"eval_batch_size: expected at least 1, got {self.eval_batch_size}")
        if self.compile and self.recompute is True:
            raise SettingsError("compile, recompute: layers that are generated code cannot be run twice; leave one out")
