"""Any video model of transformers: a clip -> a sequence of tokens, each of which spans a tubelet.

VideoMAE (Tong et al., 2022, https://arxiv.org/abs/2203.12602), V-JEPA 2 (Assran et al., 2025,
https://arxiv.org/abs/2506.09985), ViViT, TimeSformer and VideoPrism need no class of their own. A clip is divided into
as many equal spans as the model has frames, and the frame in the middle of each is taken. Leading special tokens are
measured: at the input of the first block they are the same for every clip.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from inlay.adapters.encoders.frames import moments
from inlay.adapters.encoders.frozen import FrozenEncoder, Layer
from inlay.adapters.encoders.image.any_vision import AnyClassToken
from inlay.adapters.encoders.image.vision import squares
from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.encoders.video.pixel_rule import PixelRule
from inlay.adapters.language.freeze import freeze
from inlay.adapters.media.geometry import Geometry
from inlay.adapters.media.video import Video

__all__ = ["AnyVideoEncoder", "frame_count"]


def frame_count(config: Any) -> int:
    """Frames of a clip that a model was trained with; 0 for a model that takes no clips."""
    found = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)
    return found if type(found) is int else 0


class AnyVideoEncoder(FrozenEncoder):
    """A video model of transformers that takes ``[n, frames, 3, height, width]``.

    Args:
        model: takes ``pixel_values_videos`` or ``pixel_values``, and its output has a ``last_hidden_state``.
        processor: its video or image processor, for the normalisation, or the dictionary of its file.
        frames: number of frames that are encoded; that of the model's config if not given.
        layer: ``"last"`` is the model's output; an integer indexes its hidden states.
        class_token: ``"keep"`` or ``"drop"`` the special token in front, ``"none"`` for a model without one; ``"auto"``
            is ``"drop"`` where there is one.
        image_size: side of the square in pixels; that of the config if not given.
        source: the Hub id, or another name from which the same weights can be loaded.
        revision: the commit on the Hub, 40 hex digits.

    Raises:
        EncoderError: the model gives no sequence, has no such number of frames, or no class token to keep.
    """

    modality: Literal["video"] = "video"

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,
        *,
        frames: int | None = None,
        layer: Layer = "last",
        class_token: AnyClassToken = "auto",
        image_size: int | None = None,
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        self.model = freeze(model)
        config: Any = model.config
        self.layer, self.source, self.revision = layer, source, revision
        self.family: str = config.model_type
        self.frames = _frames(frames, config, type(model).__name__)
        self.image_size = int(image_size or _side(config, type(model).__name__))
        self.pixels = PixelRule.of(processor)
        self.special = 0
        self.class_token = class_token
        self._measure(class_token)

    def picks(self, count: int, fps: float) -> list[int]:
        """Indices of the frames that are encoded, of a clip of ``count`` frames; see :class:`Encoder`."""
        return moments(count, self.frames)

    def preprocess(self, videos: Sequence[Video], geometry: Geometry) -> Tensor:
        """Frames of ``n`` clips: ``[n, frames, 3, size, size]`` float32."""
        images = [video.frame(index) for video in videos for index in moments(video.count, self.frames)]
        found = self.pixels(squares(images, self.image_size, geometry, self.pixels.fill))
        return found.view(len(videos), self.frames, *found.shape[1:])

    def encode(self, pixels: Tensor) -> Tensor:
        """Frozen features: ``[n, frames, 3, size, size]`` -> ``[n, tokens, width]`` in the model's dtype."""
        if not len(pixels):
            return torch.zeros(0, self.tokens, self.width, device=self.device, dtype=self.dtype)
        with torch.no_grad():
            states = self._states(pixels.to(device=self.device, dtype=self.dtype))
        rest = states[:, self.special :]
        return torch.cat([states[:, :1], rest], dim=1) if self.class_token == "keep" else rest

    def _states(self, pixels: Tensor) -> Tensor:
        """Tokens of the chosen layer, the special ones included."""
        output = self._output(pixels, hidden=self.layer != "last")
        found: Tensor = output.last_hidden_state if self.layer == "last" else output.hidden_states[self.layer]
        return found

    def _output(self, pixels: Tensor, *, hidden: bool) -> Any:
        takes = inspect.signature(type(self.model).forward).parameters
        more: dict[str, Any] = {"output_hidden_states": True} if hidden else {}
        if "skip_predictor" in takes:  # V-JEPA 2: the predictor of hidden patches gives no features
            more["skip_predictor"] = True
        if "interpolate_pos_encoding" in takes and self.image_size != _side(self.model.config, ""):
            more["interpolate_pos_encoding"] = True
        return self.model(**{self.model.main_input_name: pixels}, **more)

    def _measure(self, asked: AnyClassToken) -> None:
        """Number of special tokens and the class-token rule, from two clips of noise."""
        generator = torch.Generator().manual_seed(0)
        side = self.image_size
        pixels = torch.rand(2, self.frames, 3, side, side, generator=generator).to(self.device, self.dtype)
        name = type(self.model).__name__
        with torch.no_grad():
            states = self._states(pixels)
            if not isinstance(states, Tensor) or states.dim() != 3 or len(states) != 2:
                raise EncoderError(f"{name}: expected features [n, tokens, width] of n clips")
            self.tokens, self.width = int(states.shape[1]), int(states.shape[2])
            self.special = self._special(pixels)
        if asked == "keep" and not self.special:
            raise EncoderError(f"{name} has no class token to keep; give class_token='none' or 'auto'")
        if asked == "none" and self.special:
            raise EncoderError(
                f"{name} has {self.special} special token(s) in front; give class_token='drop' or 'keep'"
            )
        self.class_token = "keep" if asked == "keep" else "drop" if self.special else "none"
        self.tokens += (self.class_token == "keep") - self.special

    def _special(self, pixels: Tensor) -> int:
        """Leading tokens that are the same for both clips where they enter the first block."""
        hidden: Any = getattr(self._output(pixels, hidden=True), "hidden_states", None)
        entering = hidden[0] if hidden else None
        if isinstance(entering, Tensor) and not entering.is_meta and entering.shape[:2] == (2, self.tokens):
            same = (entering[0] == entering[1]).all(dim=-1)
            return int(same.long().cumprod(0).sum())
        # The model does not return them: count the tokens in excess of the tubelets.
        patches = _tubelets(self.model.config, self.frames, self.image_size)
        return self.tokens - patches if 0 < self.tokens - patches < self.frames else 0

    @property
    def settings(self) -> dict[str, Any]:
        """Further values that an adapter compares."""
        return {
            "frames": self.frames,
            "layer": self.layer,
            "class_token": self.class_token,
            "image_size": self.image_size,
            "special": self.special,
        }


def _frames(asked: int | None, config: Any, name: str) -> int:
    frames = frame_count(config) if asked is None else asked
    step = _tubelet(config)[0]
    if type(frames) is not int or frames < 1 or frames % step:
        raise EncoderError(
            f"{name}: frames: expected a positive multiple of {step}, the frames of a tubelet, got {frames!r}"
        )
    return frames


def _tubelet(config: Any) -> tuple[int, int]:
    """Frames and pixels on a side that one token spans."""
    size, patch = getattr(config, "tubelet_size", 1), getattr(config, "patch_size", None)
    if isinstance(size, list | tuple):
        return int(size[0]), int(size[-1])
    return int(size), int(patch[0] if isinstance(patch, list | tuple) else patch or 1)


def _tubelets(config: Any, frames: int, side: int) -> int:
    step, patch = _tubelet(config)
    return int(frames // step * (side // patch) ** 2)


def _side(config: Any, name: str) -> int:
    found = getattr(config, "image_size", None) or getattr(config, "crop_size", None)
    found = found[0] if isinstance(found, list | tuple) else found
    if type(found) is not int:
        raise EncoderError(f"{name}: config.json has no image size; give image_size")
    return found
