"""The base class of frozen audio encoders: sounds of any rate and length -> a fixed number of features.

A sound is resampled to the model's rate and cut to the model's window; of a longer sound the beginning is used. How a
shorter sound is padded depends on the model, see its class.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inlay.adapters.encoders.frozen import FrozenEncoder
from inlay.adapters.encoders.protocol import Inputs
from inlay.adapters.language.freeze import freeze
from inlay.adapters.media.audio import Sound, resample
from inlay.adapters.media.geometry import Geometry

__all__ = ["AudioEncoder", "by_length", "window"]


def window(sound: Sound, rate: int, samples: int) -> NDArray[np.float32]:
    """At most the first ``samples`` samples of a sound at another rate: ``[n]`` float32.

    Example:
        >>> window(Sound(np.zeros(100, dtype=np.float32), 16000), 16000, 60).shape
        (60,)
    """
    # Only a little more than the window is resampled: not all of a long sound, and without the filter's edge effect.
    enough = (samples * sound.rate) // rate + sound.rate // 10 + 1
    return resample(Sound(sound.samples[:enough], sound.rate), rate).samples[:samples]


def by_length(values: Tensor, lengths: Tensor, run: Callable[[Tensor], Tensor], tokens: int, width: int) -> Tensor:
    """Apply a model to groups of rows of equal length, without their padding.

    Args:
        values: ``[n, longest, ...]``.
        lengths: ``[n]``, length of each row without padding.
        run: the model, ``[k, length, ...]`` -> ``[k, m, width]`` with ``m <= tokens``.
        tokens: features per row.
        width: values per feature.

    Returns:
        ``[n, tokens, width]``; zeros after the features of a shorter row.
    """
    features = values.new_zeros(len(values), tokens, width)
    lengths = lengths.to(values.device)
    for length in sorted({int(length) for length in lengths}):
        rows = lengths == length
        states = run(values[rows, :length])
        features[rows, : states.shape[1]] = states
    return features


class AudioEncoder(FrozenEncoder):
    """Window, device and port of an audio encoder; subclasses implement ``preprocess`` and ``_features``.

    Args:
        model: frozen in place.
        family: the architecture.
        rate: sampling rate of the model, in Hz.
        samples: length of its window, in samples.
        tokens: features per sound.
        width: values per feature.
        settings: further values that an adapter compares.
        source: the Hub id, or another name from which the same weights can be loaded.
        revision: the commit on the Hub, 40 hex digits.
    """

    modality: Literal["audio"] = "audio"

    def __init__(
        self,
        model: nn.Module,
        *,
        family: str,
        rate: int,
        samples: int,
        tokens: int,
        width: int,
        settings: Mapping[str, Any],
        source: str | None,
        revision: str | None,
    ) -> None:
        super().__init__()
        self.model = freeze(model)
        self.family, self.rate, self.samples = family, rate, samples
        self.tokens, self.width = tokens, width
        self.settings = {"rate": rate, "seconds": round(samples / rate, 3), **settings}
        self.source, self.revision = source, revision

    def windows(self, sounds: Sequence[Sound]) -> list[NDArray[np.float32]]:
        """The beginning of each sound at the model's rate."""
        return [window(sound, self.rate, self.samples) for sound in sounds]

    @abstractmethod
    def preprocess(self, sounds: Sequence[Sound], geometry: Geometry) -> Inputs:
        """``n`` sounds -> the input of :meth:`encode`, on the CPU; the geometry is ignored."""

    @torch.no_grad()
    def encode(self, inputs: Any) -> Tensor:
        """Frozen features: the output of :meth:`preprocess` -> ``[n, tokens, width]`` in the model's dtype."""
        rows = inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))
        # Reshapes with -1 inside the models fail for an empty batch.
        if not len(rows):
            return torch.zeros(0, self.tokens, self.width, device=self.device, dtype=self.dtype)
        return self._features(inputs)

    @abstractmethod
    def _features(self, inputs: Any) -> Tensor:
        """Features ``[n, tokens, width]`` of at least one sound."""

    def _placed(self, values: Tensor) -> Tensor:
        return values.to(device=self.device, dtype=self.dtype)
