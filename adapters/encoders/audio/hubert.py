"""HuBERT (Hsu et al., 2021, https://arxiv.org/abs/2106.07447): samples of speech -> 50 features per second.

wav2vec 2.0 (https://arxiv.org/abs/2006.11477), WavLM (https://arxiv.org/abs/2110.13900), UniSpeech, data2vec and the
Conformer variant of wav2vec 2.0 read samples through the same convolutions and are loaded by the same class.

Its normalisation is over all samples of a sound, so padding would change every feature. Therefore sounds of equal
length are encoded together without padding; features beyond the end of a sound are zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    Data2VecAudioModel,
    HubertModel,
    UniSpeechModel,
    UniSpeechSatModel,
    Wav2Vec2ConformerModel,
    Wav2Vec2Model,
    WavLMModel,
)

from inlay.adapters.encoders.audio.audio_encoder import AudioEncoder, by_length
from inlay.adapters.encoders.frozen import Layer, states_of
from inlay.adapters.encoders.registry import register_encoder
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.geometry import Geometry

__all__ = ["RELATIVES", "HubertEncoder"]

RELATIVES: Mapping[str, Any] = {
    "hubert": HubertModel,
    "wav2vec2": Wav2Vec2Model,
    "wavlm": WavLMModel,
    "unispeech": UniSpeechModel,
    "unispeech-sat": UniSpeechSatModel,
    "data2vec-audio": Data2VecAudioModel,
    "wav2vec2-conformer": Wav2Vec2ConformerModel,
}
"""``model_type`` -> class of the models that read samples through convolutions."""


class HubertEncoder(AudioEncoder):
    """A ``HubertModel``, or a model of its relatives (:data:`RELATIVES`).

    Args:
        model: the model.
        extractor: a ``Wav2Vec2FeatureExtractor``, for the rate and whether samples are normalised.
        seconds: the window; of a longer sound the beginning is used.
        layer: ``"last"`` is the model's output; an integer indexes its hidden states.
        source: see :class:`AudioEncoder`.
        revision: see :class:`AudioEncoder`.
    """

    def __init__(
        self,
        model: Any,
        extractor: Any,
        *,
        seconds: float = 10.0,
        layer: Layer = "last",
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        self.field = _field(model.config.conv_kernel, model.config.conv_stride)
        self.strides = tuple(zip(model.config.conv_kernel, model.config.conv_stride, strict=True))
        samples = max(self.field, round(seconds * extractor.sampling_rate))
        super().__init__(
            model,
            family=model.config.model_type,
            rate=extractor.sampling_rate,
            samples=samples,
            tokens=self.frames(samples),
            width=model.config.hidden_size,
            settings={"layer": layer},
            source=source,
            revision=revision,
        )
        self.normalised, self.layer = bool(extractor.do_normalize), layer

    def frames(self, samples: int) -> int:
        """Number of features: each convolution maps ``n`` samples to ``(n - kernel) // stride + 1``."""
        for kernel, stride in self.strides:
            samples = (samples - kernel) // stride + 1
        return samples

    def preprocess(self, sounds: Sequence[Sound], geometry: Geometry) -> Mapping[str, Tensor]:
        """``samples`` ``[n, longest]`` float32, zero-padded, and ``lengths`` ``[n]``, each enough for one feature."""
        rows = [np.pad(row, (0, max(0, self.field - len(row)))) for row in self.windows(sounds)]
        if self.normalised:
            rows = [(row - row.mean()) / np.sqrt(row.var() + 1e-7) for row in rows]
        filled = torch.zeros(len(rows), max((len(row) for row in rows), default=self.field))
        for index, row in enumerate(rows):
            filled[index, : len(row)] = torch.from_numpy(row)
        return {"samples": filled, "lengths": torch.tensor([len(row) for row in rows], dtype=torch.long)}

    def _features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        samples = self._placed(inputs["samples"])
        return by_length(samples, inputs["lengths"], self._states, self.tokens, self.width)

    def _states(self, samples: Tensor) -> Tensor:
        return states_of(self.model, samples, self.layer)


def _field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Receptive field of one feature, in samples: 400 with the published convolutions.

    Example:
        >>> _field((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2))
        400
    """
    samples = 1
    for kernel, stride in reversed(list(zip(kernels, strides, strict=True))):
        samples = (samples - 1) * stride + kernel
    return samples


for _type, _class in RELATIVES.items():
    register_encoder(_type, HubertEncoder, modality="audio", model_class=_class)
