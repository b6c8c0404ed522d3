"""A frozen model of sound as a port: sounds of any rate and length in, a fixed number of features out.

A sound comes to the model's rate; of one that is longer than the model's window the beginning is taken. What a shorter
one is filled up with is each model's own affair and said there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.encoders.protocol import Inputs
from inlay.adapters.language.freeze import freeze
from inlay.adapters.media.audio import Sound, resample
from inlay.adapters.media.geometry import Geometry
from inlay.hub.format.manifest import PortSpec

__all__ = ["AudioEncoder", "by_length", "window"]


def window(sound: Sound, rate: int, samples: int) -> NDArray[np.float32]:
    """The first ``samples`` samples of a sound at a rate, or all of them: ``[n]`` float32.

    Example:
        >>> window(Sound(np.zeros(100, dtype=np.float32), 16000), 16000, 60).shape
        (60,)
    """
    # A little more than is kept, so that a long sound is not resampled whole and its edge is not that of a filter.
    enough = (samples * sound.rate) // rate + sound.rate // 10 + 1
    return resample(Sound(sound.samples[:enough], sound.rate), rate).samples[:samples]


def by_length(values: Tensor, lengths: Tensor, run: Callable[[Tensor], Tensor], tokens: int, width: int) -> Tensor:
    """Run rows of one length together, each without what it was filled up with.

    Args:
        values: ``[n, longest, ...]``.
        lengths: ``[n]``, how much of each row is its own.
        run: ``[k, length, ...]`` -> ``[k, some, width]``, at most ``tokens``.
        tokens: features per row.
        width: values per feature.

    Returns:
        ``[n, tokens, width]``; zeros behind the features of a shorter row.
    """
    features = values.new_zeros(len(values), tokens, width)
    lengths = lengths.to(values.device)
    for length in sorted({int(length) for length in lengths}):
        rows = lengths == length
        states = run(values[rows, :length])
        features[rows, : states.shape[1]] = states
    return features


class AudioEncoder(nn.Module):
    """What the encoders of sound share; a subclass says how sounds become inputs and inputs features.

    Args:
        model: it is frozen in place.
        family: the architecture.
        rate: of the samples that the model takes, in Hz.
        samples: of its window.
        tokens: features per sound.
        width: values per feature.
        settings: what else an adapter has to agree with.
        source: the Hub id, or another name by which the same weights can be found again.
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
        """``n`` sounds -> what :meth:`encode` takes, on the CPU; the geometry is for pictures."""

    @torch.no_grad()
    def encode(self, inputs: Any) -> Tensor:
        """Frozen features: what :meth:`preprocess` gave -> ``[n, tokens, width]`` in the model's dtype."""
        rows = inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))
        # Reshapes inside the models guess a size, which an empty batch leaves open.
        if not len(rows):
            return torch.zeros(0, self.tokens, self.width, device=self.device, dtype=self.dtype)
        return self._features(inputs)

    @abstractmethod
    def _features(self, inputs: Any) -> Tensor:
        """Features ``[n, tokens, width]`` of at least one sound."""

    def _placed(self, values: Tensor) -> Tensor:
        return values.to(device=self.device, dtype=self.dtype)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights and of the features."""
        return next(self.model.parameters()).dtype

    @cached_property
    def port(self) -> PortSpec:
        """What an adapter has to know of this encoder."""
        return PortSpec(
            kind="encoder",
            family=self.family,
            width=self.width,
            tokens=self.tokens,
            source=self.source,
            revision=self.revision,
            weights=weights_digest(self.model),
            settings=self.settings,
        )
