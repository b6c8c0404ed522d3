"""Settings of single objectives, as small typed configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inlay.hub.errors import InlayError

__all__ = ["ObjectiveError", "RepresentSettings", "SignalSettings", "TeacherSettings"]


class ObjectiveError(InlayError):
    """An objective contradicts itself, or cannot be reached with this adapter or these data."""


@dataclass(frozen=True, kw_only=True)
class RepresentSettings:
    """BLIP-2's first stage; the defaults are the published values."""

    itc: float = 1.0
    """Weight of the image-text contrast. Hard negatives are drawn from its scores, so it is always above 0."""
    itm: float = 1.0
    """Weight of image-text matching; 0 leaves it out."""
    lm: float = 1.0
    """Weight of image-grounded generation; 0 leaves it out."""
    itc_smoothing: float = 0.1
    """Label smoothing of the contrast."""
    lm_smoothing: float = 0.1
    """Label smoothing of the generation."""
    temperature: float = 0.07
    """First value of the learned temperature."""
    temperature_bounds: tuple[float, float] = (0.001, 0.5)
    """Bounds of the temperature."""
    text_tokens: int = 32
    """Tokens that a caption is cut to."""
    embedding: int = 256
    """Width of the space in which pictures and texts are compared."""
    bert: str = ""
    """Hub id or folder of the BERT that text branch and self-attention start from; empty for random values."""
    rerank: int = 0
    """In the report: candidates of each query that matching puts in a new order; 0 for contrast alone."""

    def __post_init__(self) -> None:
        if self.itc <= 0 or self.itm < 0 or self.lm < 0:
            raise ObjectiveError(
                f"represent: expected itc above 0 and itm, lm from 0, got {self.itc}, {self.itm} and {self.lm}"
            )
        if not 0 <= self.itc_smoothing < 1 or not 0 <= self.lm_smoothing < 1:
            raise ObjectiveError("represent: itc_smoothing and lm_smoothing lie between 0 and 1")
        low, high = self.temperature_bounds
        if not 0 < low <= self.temperature <= high:
            raise ObjectiveError(
                f"represent: expected 0 < {low} <= temperature <= {high}, got a temperature of {self.temperature}"
            )
        if self.text_tokens < 4 or self.embedding < 1 or self.rerank < 0:
            raise ObjectiveError(
                "represent: text_tokens is at least 4 (a word between special tokens), embedding at least 1, rerank "
                "not negative"
            )


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """P-Former: the teacher's own stage, and the stage that learns from the teacher."""

    bert: str = "bert-base-uncased"
    """Hub id or folder of the BERT that the teacher starts from; the prompt tokenizer has to be its own."""
    masked: float = 0.25
    """Share of a caption's words that are masked for the teacher."""
    vocabulary: float = 1.0
    """Weight of the distance between prompts and the LLM's nearest embeddings."""
    align: float = 1.0
    """Weight of the distance between the projector's prompts and the teacher's."""
    text_tokens: int = 32
    """Tokens that a caption is cut to."""

    def __post_init__(self) -> None:
        if not 0 <= self.masked < 1 or self.vocabulary < 0 or self.align < 0 or self.text_tokens < 4:
            raise ObjectiveError(
                "teacher: masked lies between 0 and 1, vocabulary and align are not negative, text_tokens is at least 4"
            )


@dataclass(frozen=True, kw_only=True)
class SignalSettings:
    """NExT-GPT's output side: targets of the states of signal tokens; the defaults are the published values."""

    lm: float = 1.0
    """Weight of the cross-entropy over words and signal tokens; 0 leaves it out."""
    distance: Literal["per_token_l2", "mse"] = "per_token_l2"
    """Between conditioning and the text encoder's: the Euclidean norm of each vector, which the papers call MSE, or the
    mean squared error."""
    image: float = 1.0
    """Weight of the distance for pictures."""
    audio: float = 1.0
    """Weight of the distance for sounds."""
    video: float = 1.0
    """Weight of the distance for clips; the released code takes 2 in its last stage."""
    diffusion: float = 0.0
    """Weight of the latent diffusion loss, for which the media themselves are read; 0 leaves it out."""
    min_snr: float | None = 5.0
    """Gamma of the diffusion loss's min-SNR weights; empty for none."""
    cache: bool = True
    """If output projectors alone train, the frozen LLM runs once on each sample, before the training loop."""

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("lm", "image", "audio", "video", "diffusion")}
        if any(value < 0 for value in weights.values()) or not any(weights.values()):
            raise ObjectiveError(f"signals: expected weights from 0, one of them above, got {weights}")
        if self.min_snr is not None and self.min_snr <= 0:
            raise ObjectiveError(f"signals: min_snr lies above 0, got {self.min_snr}")
