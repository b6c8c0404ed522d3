"""CLAP's audio tower, HTSAT (Wu et al., 2022, https://arxiv.org/abs/2211.06687).

10 s at 48 kHz become one vector in the space that CLAP shares with text (512 values, norm 1), or the feature map of the
last layer (64 features of 768 values). A shorter sound is repeated while it fits and then padded with silence, as in
CLAP's training; of a longer one the first 10 s are used. (The feature extractor of transformers takes a random crop and
marks a random sound of each batch as long. Features of a frozen encoder must be deterministic.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ClapAudioModelWithProjection

from inlay.adapters.encoders.audio.audio_encoder import AudioEncoder
from inlay.adapters.encoders.registry import register_encoder
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.geometry import Geometry

__all__ = ["ClapEncoder", "ClapFeatures"]

ClapFeatures: TypeAlias = Literal["pooled", "grid"]


class ClapEncoder(AudioEncoder):
    """A ``ClapAudioModelWithProjection``, fused or not.

    Args:
        model: the model.
        extractor: a ``ClapFeatureExtractor``, for rate and window.
        features: ``"pooled"`` for the shared vector, ``"grid"`` for the feature map of the last layer, row by row.
        source: see :class:`AudioEncoder`.
        revision: see :class:`AudioEncoder`.
    """

    def __init__(
        self,
        model: ClapAudioModelWithProjection,
        extractor: Any,
        *,
        features: ClapFeatures = "pooled",
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        config: Any = model.config
        # Each stage after the first halves the grid of patches in both directions.
        side = config.spec_size // config.patch_stride[0] // 2 ** (len(config.depths) - 1)
        pooled = features == "pooled"
        super().__init__(
            model,
            family="clap",
            rate=extractor.sampling_rate,
            samples=int(extractor.nb_max_samples),
            tokens=1 if pooled else side * side,
            width=config.projection_dim if pooled else config.hidden_size,
            settings={"features": features, "fusion": bool(config.enable_fusion)},
            source=source,
            revision=revision,
        )
        self.extractor, self.features = extractor, features

    def preprocess(self, sounds: Sequence[Sound], geometry: Geometry) -> Mapping[str, Tensor]:
        """Mel spectrograms in decibels: ``n`` sounds -> ``mel`` ``[n, 1 or 4, frames, bands]`` float32."""
        config: Any = self.model.config
        truncation = "fusion" if config.enable_fusion else "rand_trunc"
        if not sounds:
            channels = 4 if config.enable_fusion else 1
            frames = self.samples // self.extractor.hop_length + 1
            return {"mel": torch.zeros(0, channels, frames, self.extractor.feature_size)}
        rows = self.extractor(
            self.windows(sounds), truncation=truncation, sampling_rate=self.rate, return_tensors="pt"
        ).input_features
        return {"mel": rows.float()}

    def _features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        mel = self._placed(inputs["mel"])
        # Sounds are cut to the window, so none is "longer", and the fusion branch is not used.
        longer = torch.zeros(len(mel), 1, dtype=torch.bool, device=mel.device)
        output = self.model(mel, is_longer=longer)
        if self.features == "grid":
            grid: Tensor = output.last_hidden_state.flatten(2).transpose(1, 2)
            return grid
        return F.normalize(output.audio_embeds, dim=-1)[:, None]


register_encoder("clap", ClapEncoder, modality="audio", model_class=ClapAudioModelWithProjection)
register_encoder("clap_audio_model", ClapEncoder, modality="audio", model_class=ClapAudioModelWithProjection)
