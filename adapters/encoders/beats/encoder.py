"""The BEATs encoder: 8 features (patches of the spectrogram) per 160 ms of sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from inlay.adapters.encoders.audio.audio_encoder import AudioEncoder, by_length
from inlay.adapters.encoders.audio.filter_bank import frame_count, log_mel
from inlay.adapters.encoders.beats.model import Beats
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.geometry import Geometry

__all__ = ["BeatsEncoder"]

_INTEGER = 32768.0
"""BEATs was trained on samples in the range of 16-bit integers."""


class BeatsEncoder(AudioEncoder):
    """A :class:`Beats` model.

    Sounds of equal length are encoded together without padding, so a feature does not depend on the rest of the batch;
    features beyond the end of a sound are zeros. A sound shorter than one patch (175 ms) is padded with silence to one
    patch.

    Args:
        model: frozen in place.
        seconds: the window; of a longer sound the beginning is used.
        source: see :class:`AudioEncoder`.
        revision: see :class:`AudioEncoder`.
    """

    def __init__(
        self, model: Beats, *, seconds: float = 10.0, source: str | None = None, revision: str | None = None
    ) -> None:
        config = model.config
        # A frame is 25 ms long; frames start every 10 ms.
        self.shortest = int(config.rate * 0.025) + (config.patch - 1) * int(config.rate * 0.01)
        samples = max(self.shortest, round(seconds * config.rate))
        super().__init__(
            model,
            family="beats",
            rate=config.rate,
            samples=samples,
            tokens=config.tokens(frame_count(samples, config.rate)),
            width=config.width,
            settings={"bands": config.bands, "patch": config.patch},
            source=source,
            revision=revision,
        )
        self.config = config

    def preprocess(self, sounds: Sequence[Sound], geometry: Geometry) -> Mapping[str, Tensor]:
        """Log-mel values ``mel`` ``[n, longest, bands]`` float32, and their lengths ``frames`` ``[n]``."""
        rows = []
        for samples in self.windows(sounds):
            filled = torch.zeros(max(self.shortest, len(samples)))
            filled[: len(samples)] = torch.from_numpy(samples)
            rows.append(log_mel(filled * _INTEGER, self.rate, bands=self.config.bands))
        mel = torch.zeros(len(rows), max((len(row) for row in rows), default=self.config.patch), self.config.bands)
        for index, row in enumerate(rows):
            mel[index, : len(row)] = (row - self.config.mean) / (2 * self.config.deviation)
        return {"mel": mel, "frames": torch.tensor([len(row) for row in rows], dtype=torch.long)}

    def _features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return by_length(self._placed(inputs["mel"]), inputs["frames"], self.model, self.tokens, self.width)
