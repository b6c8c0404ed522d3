"""What a training run can be told, as typed dataclasses: the fields of the command line and of ``config.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inlay.hub.errors import InlayError

__all__ = ["BackboneSettings", "DataSettings", "RunSettings", "SettingsError"]


class SettingsError(InlayError):
    """Settings that contradict each other."""


@dataclass(frozen=True, kw_only=True)
class BackboneSettings:
    """The frozen models. Without names: the embedded miniature."""

    llm: str | None = None
    """Hub id or folder of the LLM; empty for the embedded miniature."""
    image: str | None = None
    """Hub id or folder of the image encoder; empty for the embedded miniature."""
    prompt: str | None = None
    """Hub id or folder of the tokenizer of captions and of projectors that read; empty for the system's own."""
    qformer: str | None = None
    """A frozen Q-Former behind the image encoder: a bundle or run folder that holds one, or ``same`` for the one in
    the image encoder's own BLIP-2 checkpoint; empty for the system's own."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of the frozen models; auto is float32 on a CPU and bfloat16 on an accelerator."""
    layer: int | None = None
    """Hidden states of the image encoder; empty for its family's default."""
    class_token: Literal["keep", "drop"] | None = None
    """What happens to the encoder's class token; empty for its family's default."""

    def __post_init__(self) -> None:
        if (self.llm is None) != (self.image is None):
            raise SettingsError("backbone: give both --backbone.llm and --backbone.image, or neither for the miniature")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Files to learn from. Without names: the miniature's world, written into the run folder."""

    align: Path | None = None
    """Captioned pictures (LLaVA, COCO captions, pairs); the training file if not given."""
    train: Path | None = None
    """Conversations or questions (LLaVA, canonical messages, triples), or the questions of VQA v2."""
    test: Path | None = None
    """The same, held out; without it no question is asked."""
    align_test: Path | None = None
    """Captioned pictures, held out, for captions and retrieval."""
    annotations: Path | None = None
    """VQA v2: the annotations of the training questions."""
    test_annotations: Path | None = None
    """VQA v2: the annotations of the held-out questions."""
    mix: tuple[Path, ...] = ()
    """More training files, for stages that learn from all; each is a data set of its own."""
    images: Path | None = None
    """Folder of the images; the folder of each file if not given."""
    workers: int = 0
    """Processes that load media."""
    cache_mib: int = 2048
    """Memory for cached frozen features; above it the encoder runs in the loop. 0 turns the cache off."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The run itself."""

    output: Path
    """Run folder: bundle/, metrics.json, logs/, checkpoints/, config.yaml, data/ (miniature)."""
    name: str = ""
    """Name of the adapter; the name of the run folder if empty."""
    seed: int = 0
    """Of the data, the first weights and the order."""
    begin: Path | None = None
    """A bundle or run folder of the same projector whose weights the adapter begins with."""
    resume: bool = False
    """Go on where an interrupted run in the same folder stopped."""
    overwrite: bool = False
    """Replace a finished run in the same folder."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to train."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Lightning's precision of the trained parts."""
    checkpoint_every: int = 200
    """Optimizer steps between checkpoints."""
    evaluate: bool = True
    """Answer the held-out questions at the end."""
