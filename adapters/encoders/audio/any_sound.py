"""Any audio model of transformers on samples or spectrograms: a sound -> features, as many as its window has.

AST (Gong et al., 2021, https://arxiv.org/abs/2104.01778), wav2vec2-BERT (https://arxiv.org/abs/2312.05187), SEW and
others need no class of their own. Only the beginning of a sound longer than the window is used. A shorter one is
encoded separately, with the input of its feature extractor: AST's pads the spectrogram itself, others give a shorter
input, and the features after the end of the sound are zeros. So a sound has the same features in every batch, equal to
those of transformers. The output is a sequence, without its leading special tokens (AST has two), or a map that is read
row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from inlay.adapters.encoders.audio.audio_encoder import AudioEncoder
from inlay.adapters.encoders.frozen import Layer
from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.language.freeze import freeze
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.geometry import Geometry

__all__ = ["AnySoundEncoder"]

_VALUES = ("input_values", "input_features")
_MASK = "attention_mask"
_LENGTHS = "lengths"
_SHORTEST = 0.1
"""Seconds; a shorter sound is padded with silence, since convolutions need some samples."""


class AnySoundEncoder(AudioEncoder):
    """An audio model of transformers whose output has a ``last_hidden_state``.

    Args:
        model: a model of any class that takes the output of the extractor.
        extractor: its feature extractor.
        seconds: the window.
        layer: ``"last"`` is the model's output; an integer indexes its hidden states.
        source: see :class:`AudioEncoder`.
        revision: see :class:`AudioEncoder`.

    Raises:
        EncoderError: the model gives neither a sequence nor a map.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        extractor: Any,
        *,
        seconds: float = 10.0,
        layer: Layer = "last",
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        self.extractor, self.layer, self.special = extractor, layer, 0
        rate = int(extractor.sampling_rate)
        samples = max(round(seconds * rate), round(_SHORTEST * rate))
        noise = np.random.default_rng(0).normal(0, 0.1, (2, samples)).astype(np.float32)
        one, other = (self._extracted(row, rate) for row in noise)
        half = self._extracted(noise[0, : max(samples // 2, round(_SHORTEST * rate))], rate)
        self.axis = _time_axis(one, half)
        inputs = {name: torch.cat([one[name], other[name]]) for name in one}
        with torch.no_grad():
            states, entering = _run(freeze(model), inputs, layer)
        same = (entering[0] == entering[1]).all(dim=-1) if entering is not None else torch.zeros(1, dtype=torch.bool)
        special = int(same.long().cumprod(0).sum()) if states.dim() == 3 else 0
        super().__init__(
            model,
            family=model.config.model_type,
            rate=rate,
            samples=samples,
            tokens=_sequence(states).shape[1] - special,
            width=_sequence(states).shape[2],
            settings={"layer": layer, "special": special},
            source=source,
            revision=revision,
        )
        self.special = special

    def preprocess(self, sounds: Sequence[Sound], geometry: Geometry) -> Mapping[str, Tensor]:
        """The extractor's output for each sound, padded with zeros to ``[n, longest, ...]``, and ``lengths``."""
        shortest = round(_SHORTEST * self.rate)
        rows = [np.pad(row, (0, max(0, shortest - len(row)))) for row in self.windows(sounds)]
        if not rows:
            empty = self._extracted(np.zeros(self.samples, dtype=np.float32), self.rate)
            return {**{name: value[:0] for name, value in empty.items()}, _LENGTHS: torch.zeros(0, dtype=torch.long)}
        found = [self._extracted(row, self.rate) for row in rows]
        main = next(iter(found[0]))
        lengths = torch.tensor([0 if self.axis is None else row[main].shape[self.axis] for row in found])
        filled = {name: torch.cat(_filled([row[name] for row in found])) for name in found[0]}
        return {**filled, _LENGTHS: lengths}

    def _extracted(self, row: Any, rate: int) -> dict[str, Tensor]:
        """The extractor's output for one sound, each ``[1, ...]``; the values are first."""
        # Speech2Text's extractor divides by the deviation of each band, which is zero for silence.
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self.extractor(row, sampling_rate=rate, return_tensors="pt")
        values = {
            name: torch.as_tensor(found[name]).float().nan_to_num(0.0, 0.0, 0.0) for name in _VALUES if name in found
        }
        mask = {_MASK: torch.as_tensor(found[_MASK])} if _MASK in found else {}
        return values | mask

    def _features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        lengths = inputs[_LENGTHS].tolist()
        features = torch.zeros(len(lengths), self.tokens, self.width, device=self.device, dtype=self.dtype)
        for length in sorted(set(lengths)):
            rows = [index for index, own in enumerate(lengths) if own == length]
            picked = {name: value[rows] for name, value in inputs.items() if name != _LENGTHS}
            if self.axis is not None:
                picked = {
                    name: value.narrow(1 if name == _MASK else self.axis, 0, length) for name, value in picked.items()
                }
            states = _sequence(_run(self.model, picked, self.layer)[0])[:, self.special :]
            features[rows, : states.shape[1]] = states
        return features


def _time_axis(whole: Mapping[str, Tensor], half: Mapping[str, Tensor]) -> int | None:
    """The axis of the extractor's values that grows with a sound; None if their size is fixed."""
    name = next(iter(whole))
    sizes = enumerate(zip(whole[name].shape, half[name].shape, strict=True))
    return next((axis for axis, (long, short) in sizes if long != short), None)


def _filled(rows: Sequence[Tensor]) -> list[Tensor]:
    """Pad rows ``[1, ...]`` with zeros at the end to the shape of the largest."""
    largest = [max(sizes) for sizes in zip(*(row.shape for row in rows), strict=True)]
    pads = [
        [end for size, own in zip(largest, row.shape, strict=True) for end in (size - own, 0)][::-1] for row in rows
    ]
    return [F.pad(row, pad) for row, pad in zip(rows, pads, strict=True)]


def _run(model: Any, inputs: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor | None]:
    """The features of a layer, and the tokens that enter the first block, where the model shows them."""
    device, dtype = next(model.parameters()).device, next(model.parameters()).dtype
    placed = {
        name: value.to(device=device, dtype=dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }
    output = model(**placed, output_hidden_states=True)
    hidden: Any = getattr(output, "hidden_states", None)
    states: Any = output.last_hidden_state if layer == "last" else hidden[layer]
    if not isinstance(states, Tensor) or states.dim() not in (3, 4):
        raise EncoderError(f"{type(model).__name__}: expected features [n, tokens, width] or a map of four dimensions")
    entering = hidden[0] if hidden and hidden[0].shape[:2] == states.shape[:2] else None
    return states, entering


def _sequence(states: Tensor) -> Tensor:
    """``[n, tokens, width]``; a map ``[n, channels, height, width]`` row by row."""
    return states.flatten(2).mT if states.dim() == 4 else states
