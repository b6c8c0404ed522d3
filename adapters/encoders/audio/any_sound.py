"""Any audio model of transformers on samples or spectrograms: a window of fixed length -> features.

AST (Gong et al., 2021, https://arxiv.org/abs/2104.01778), wav2vec2-BERT (https://arxiv.org/abs/2312.05187), SEW and
others need no class of their own. A shorter sound is padded with silence to the window; of a longer one the beginning
is used. The output is a sequence, without the special tokens in front (AST has two), or a map that is read row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from inlay.adapters.encoders.audio.audio_encoder import AudioEncoder
from inlay.adapters.encoders.image.vision import Layer
from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.language.freeze import freeze
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.geometry import Geometry

__all__ = ["AnySoundEncoder"]


class AnySoundEncoder(AudioEncoder):
    """An audio model of transformers whose output has a ``last_hidden_state``.

    Args:
        model: of any class that takes what the extractor gives.
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
        samples = round(seconds * rate)
        noise = np.random.default_rng(0).normal(0, 0.1, (2, samples)).astype(np.float32)
        inputs = {name: torch.as_tensor(value) for name, value in self._extracted(list(noise), rate).items()}
        with torch.no_grad():
            states, entering = _run(freeze(model), inputs, layer)
        same = (entering[0] == entering[1]).all(dim=-1) if entering is not None else torch.zeros(1, dtype=torch.bool)
        special = int(same.long().cumprod(0).sum()) if states.dim() == 3 else 0
        tokens = _sequence(states).shape[1] - special
        super().__init__(
            model,
            family=model.config.model_type,
            rate=rate,
            samples=samples,
            tokens=tokens,
            width=_sequence(states).shape[2],
            settings={"layer": layer, "special": special},
            source=source,
            revision=revision,
        )
        self.special = special

    def preprocess(self, sounds: Sequence[Sound], geometry: Geometry) -> Mapping[str, Tensor]:
        """What the extractor gives for ``n`` windows, each ``[n, ...]`` float32."""
        rows = [np.pad(row, (0, self.samples - len(row))) for row in self.windows(sounds)]
        if not rows:
            empty = self._extracted([np.zeros(self.samples, dtype=np.float32)], self.rate)
            return {name: torch.as_tensor(value)[:0].float() for name, value in empty.items()}
        return {name: torch.as_tensor(value).float() for name, value in self._extracted(rows, self.rate).items()}

    def _extracted(self, rows: Sequence[Any], rate: int) -> Mapping[str, Any]:
        """The values alone: windows are of one length, so there is nothing to mask."""
        found = self.extractor(rows, sampling_rate=rate, return_tensors="pt")
        return {name: value for name, value in found.items() if name in ("input_values", "input_features")}

    def _features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        placed = {name: self._placed(value) for name, value in inputs.items()}
        states, _ = _run(self.model, placed, self.layer)
        return _sequence(states)[:, self.special :]


def _run(model: Any, inputs: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor | None]:
    """The features of a layer, and the tokens that enter the first block, where the model shows them."""
    device, dtype = next(model.parameters()).device, next(model.parameters()).dtype
    placed = {name: value.to(device=device, dtype=dtype) for name, value in inputs.items()}
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
