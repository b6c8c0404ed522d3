"""Whisper's encoder (Radford et al., 2022, https://arxiv.org/abs/2212.04356); its decoder is never loaded.

A log-mel spectrogram of 30 s (80 bands, 128 in large-v3, 100 frames per second) becomes 1,500 features of two frames.
A shorter sound is padded with silence, as in Whisper's training; of a longer one the first 30 s are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from inlay.adapters.encoders.audio.audio_encoder import AudioEncoder
from inlay.adapters.encoders.frozen import Layer, states_of
from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.encoders.registry import register_encoder
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.geometry import Geometry

__all__ = ["WhisperAudioEncoder"]


class WhisperAudioEncoder(AudioEncoder):
    """The encoder of a Whisper model.

    Args:
        model: a ``WhisperEncoder``, or a model that contains one (``WhisperModel``, ``WhisperForConditional...``).
        extractor: a ``WhisperFeatureExtractor``, for rate, bands and window.
        layer: ``"last"`` is the model's output after its final norm; an integer indexes its hidden states.
        source: see :class:`AudioEncoder`.
        revision: see :class:`AudioEncoder`.

    Raises:
        EncoderError: the extractor's window is not the model's.
    """

    def __init__(
        self,
        model: Any,
        extractor: Any,
        *,
        layer: Layer = "last",
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        encoder = model.get_encoder() if hasattr(model, "decoder") or hasattr(model, "model") else model
        config = encoder.config
        frames = 2 * config.max_source_positions
        if extractor.nb_max_frames != frames or extractor.feature_size != config.num_mel_bins:
            raise EncoderError(
                f"this feature extractor gives {extractor.feature_size} bands and {extractor.nb_max_frames} frames, "
                f"the model takes {config.num_mel_bins} and {frames}; use the feature extractor of the same checkpoint"
            )
        super().__init__(
            encoder,
            family="whisper",
            rate=extractor.sampling_rate,
            samples=extractor.n_samples,
            tokens=config.max_source_positions,
            width=config.d_model,
            settings={"layer": layer, "bands": extractor.feature_size},
            source=source,
            revision=revision,
        )
        self.extractor, self.layer = extractor, layer

    def preprocess(self, sounds: Sequence[Sound], geometry: Geometry) -> Tensor:
        """Log-mel spectrograms: ``n`` sounds -> ``[n, bands, frames]`` float32."""
        if not sounds:
            return torch.zeros(0, self.extractor.feature_size, self.extractor.nb_max_frames)
        found = self.extractor(self.windows(sounds), sampling_rate=self.rate, return_tensors="pt")
        features: Tensor = found.input_features.float()
        return features

    def _features(self, inputs: Tensor) -> Tensor:
        return states_of(self.model, self._placed(inputs), self.layer)


register_encoder(
    "whisper",
    WhisperAudioEncoder,
    modality="audio",
    model_class=WhisperEncoder,
    key_mapping={r"^(model\.)?encoder\.": ""},
)
