"""Any vision model of transformers: a sequence of tokens or a feature map -> features, by measured rules.

SigLIP, DINOv2 and DINOv3, AIMv2, DeiT, BEiT, BLIP, MetaCLIP 2, Pixtral, SAM, Swin, ConvNeXt, ResNet and others need no
class of their own:

- a **sequence** ``[n, tokens, width]`` is used without its leading special tokens (class, distillation and
  register tokens). How many there are is measured: at the input of the first block they are the same for every image;
- a **map** of four dimensions is read row by row, ``[n, height * width, channels]``. The two axes of equal size are the
  space; in a map that is not square, the axis whose size is one of the config's widths has the channels;
- SigLIP 2 NaFlex (Tschannen et al., 2025, https://arxiv.org/abs/2502.14786) takes a list of patches and its shape; an
  image is cut into the largest square that its position embeddings hold.

``class_token`` is ``"drop"``, ``"keep"`` (the first special token alone), or ``"none"`` for a model without one.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel

from inlay.adapters.encoders.frozen import Layer
from inlay.adapters.encoders.image.vision import ClassToken, VisionEncoder
from inlay.adapters.encoders.protocol import EncoderError

__all__ = ["AnyClassToken", "AnyVisionEncoder"]

AnyClassToken: TypeAlias = ClassToken | Literal["auto"]
_MOST = 32
"""Special tokens that a model may have in front."""


class AnyVisionEncoder(VisionEncoder):
    """A vision model of transformers that takes ``pixel_values``.

    Args:
        model: a model of any class whose output has a ``last_hidden_state``.
        processor: its image processor, for mean, standard deviation and size.
        layer: see :class:`VisionEncoder`; the model's own output by default.
        class_token: see above; ``"auto"`` is ``"drop"`` if the model has one and ``"none"`` otherwise.
        image_size: side of the square in pixels; by default that of the model's config, else of its processor.
        source: see :class:`VisionEncoder`.
        revision: see :class:`VisionEncoder`.

    Raises:
        EncoderError: the model gives neither a sequence nor a map, gives random features, has no class token to keep,
            or its size is unknown.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,
        *,
        layer: Layer = "last",
        class_token: AnyClassToken = "auto",
        image_size: int | None = None,
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__(
            model,
            _Normalisation(processor),
            layer=layer,
            class_token="none",
            image_size=image_size or _side_of(model, processor),
            source=source,
            revision=revision,
        )
        self.patches = _packs_patches(model)
        self.layout: Literal["sequence", "map"] = "sequence"
        self.special = 0
        self.class_token = self._measured(class_token)

    def _chosen(self, states: Tensor) -> Tensor:
        rest = states[:, self.special :]
        return torch.cat([states[:, :1], rest], dim=1) if self.class_token == "keep" else rest

    @property
    def settings(self) -> dict[str, Any]:
        """Further values that an adapter compares."""
        return {**super().settings, "features": self.layout, "special": self.special}

    def _states(self, pixels: Tensor) -> Tensor:
        """Tokens of the chosen layer, the special ones included: ``[n, tokens, width]``."""
        return self._sequence(self._raw(pixels), len(pixels))

    def _raw(self, pixels: Tensor) -> Tensor:
        """Hidden states of the chosen layer, as the model gives them."""
        output = self._output(pixels, hidden=self.layer != "last")
        states: Any = output.last_hidden_state if self.layer == "last" else output.hidden_states[self.layer]
        if not isinstance(states, Tensor):
            raise EncoderError(
                f"{type(self.model).__name__}: expected a tensor of features, got {type(states).__name__}"
            )
        return states

    def _output(self, pixels: Tensor, *, hidden: bool) -> Any:
        more: dict[str, Any] = {"output_hidden_states": True} if hidden else {}
        if self.patches:
            return self.model(**_patches(pixels, self.patches), **more)
        takes = inspect.signature(type(self.model).forward).parameters
        own = _whole(getattr(self.model.config, "image_size", None))
        if "interpolate_pos_encoding" in takes and self.image_size != own:
            more["interpolate_pos_encoding"] = True
        return self.model(pixels, **more)

    def _sequence(self, states: Tensor, count: int) -> Tensor:
        """``[n, tokens, width]`` of a sequence or a map; Pixtral joins the tokens of all images in one row."""
        if states.dim() == 4:
            return states.flatten(1, 2) if _channels_last(states, self.model.config) else states.flatten(2).mT
        return states.view(count, -1, states.shape[-1]) if len(states) != count else states

    def _measured(self, asked: AnyClassToken) -> ClassToken:
        """Layout, number of special tokens, and the rule that was asked for, for two images."""
        generator = torch.Generator().manual_seed(0)
        pixels = torch.rand(2, 3, self.image_size, self.image_size, generator=generator)
        pixels = pixels.to(device=self.device, dtype=self.dtype)
        with torch.no_grad():
            states, again = self._raw(pixels), self._raw(pixels)
            name = type(self.model).__name__
            if not (states.is_meta or torch.allclose(states, again, rtol=1e-2, atol=1e-3, equal_nan=True)):
                raise EncoderError(
                    f"{name} gives other features for the same image each time (it masks patches at random, for "
                    "pretraining); use a class that reads all patches, such as ViTModel with the same weights"
                )
            if states.dim() not in (3, 4):
                raise EncoderError(
                    f"{name}: expected features [n, tokens, width] or a map of four dimensions, got "
                    f"{list(states.shape)}"
                )
            self.layout = "map" if states.dim() == 4 else "sequence"
            if self.layout == "sequence":
                self.special = self._special(pixels, self._sequence(states, 2).shape[1])
        if asked == "keep" and not self.special:
            raise EncoderError(f"{name} has no class token to keep; give class_token='none' or 'auto'")
        if asked == "none" and self.special:
            raise EncoderError(
                f"{name} has {self.special} special tokens before its patches; give class_token='drop' or 'keep'"
            )
        if asked == "keep" or not self.special:
            return "keep" if asked == "keep" else "none"
        return "drop"

    def _special(self, pixels: Tensor, tokens: int) -> int:
        """Leading tokens that are the same for both images where they enter the first block."""
        try:
            entering = self._output(pixels, hidden=True).hidden_states[0]
        except (TypeError, AttributeError, IndexError, ValueError):
            entering = None
        if (
            isinstance(entering, Tensor)
            and not entering.is_meta
            and entering.dim() == 3
            and entering.shape[:2] == (2, tokens)
        ):
            same = (entering[0] == entering[1]).all(dim=-1)
            return int(same.long().cumprod(0).sum())
        # The model does not return them: count the tokens in excess of the patches, or of a square number.
        patch = _whole(getattr(self.model.config, "patch_size", None))
        beyond = tokens - (self.image_size // patch) ** 2 if patch else -1
        if 0 <= beyond <= _MOST:
            return beyond
        beyond = tokens - math.isqrt(tokens) ** 2
        return beyond if beyond < math.isqrt(tokens) else 0


class _Normalisation:
    """Mean and standard deviation of a processor; none where it does not normalise."""

    def __init__(self, processor: Any) -> None:
        off = getattr(processor, "do_normalize", True) is False or getattr(processor, "image_mean", None) is None
        self.image_mean = (0.0, 0.0, 0.0) if off else _three(processor.image_mean)
        self.image_std = (1.0, 1.0, 1.0) if off else _three(processor.image_std)


def _three(values: Any) -> tuple[float, ...]:
    return tuple(map(float, values)) if isinstance(values, Sequence) else (float(values),) * 3


def _side_of(model: PreTrainedModel, processor: Any) -> int:
    """The side of the square: of the config, of a list of patches, or of the processor."""
    config: Any = model.config
    if patch := _packs_patches(model):
        return patch * math.isqrt(int(config.num_patches))
    for given in (
        getattr(config, "image_size", None),
        *(getattr(processor, key, None) for key in ("crop_size", "size")),
    ):
        if side := _whole(given):
            return side
    raise EncoderError(
        f"{type(model).__name__}: neither config.json nor the image processor has an image size; give image_size"
    )


def _whole(given: Any) -> int | None:
    """One side of a number, a pair, or a processor's size."""
    if isinstance(given, int):
        return given
    if isinstance(given, list | tuple) and given and isinstance(given[0], int):
        return given[0]
    named = (getattr(given, key, None) for key in ("height", "shortest_edge", "longest_edge"))
    return next((side for side in named if isinstance(side, int)), None)


def _packs_patches(model: PreTrainedModel) -> int:
    """The patch size of a model that takes lists of patches with their shape; 0 for any other."""
    takes = inspect.signature(type(model).forward).parameters
    return int(model.config.patch_size) if "spatial_shapes" in takes else 0


def _patches(pixels: Tensor, size: int) -> dict[str, Tensor]:
    """``[n, 3, side, side]`` -> patches ``[n, k * k, size * size * 3]``, row by row, channels last in each."""
    count, channels, side, _ = pixels.shape
    across = side // size
    cut = pixels.view(count, channels, across, size, across, size).permute(0, 2, 4, 3, 5, 1)
    rows = cut.reshape(count, across * across, size * size * channels)
    shape = torch.full((count, 2), across, dtype=torch.long, device=pixels.device)
    mask = torch.ones(rows.shape[:2], dtype=torch.long, device=pixels.device)
    return {"pixel_values": rows, "pixel_attention_mask": mask, "spatial_shapes": shape}


def _channels_last(states: Tensor, config: Any) -> bool:
    """Whether a map is ``[n, height, width, channels]`` and not ``[n, channels, height, width]``."""
    _, first, second, third = states.shape
    if (first == second) != (second == third):
        return first == second
    widths = {value for value in vars(config).values() if type(value) is int}
    widths |= {value for values in vars(config).values() if isinstance(values, list | tuple) for value in values}
    return third in widths and first not in widths
