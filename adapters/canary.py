"""The canary: a tiny input made from a formula, and the logits that it must give after attach.

A bundle on disk can be intact and still do nothing once attached: a renamed module, a dropped key, a changed default
in a library. The canary runs the attached model once and compares numbers, so that a silent no-op becomes an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import torch
from PIL import Image
from torch import Tensor

from inlay.adapters.messages import MediaPart, Message, Part, TextPart
from inlay.hub.errors import InlayError
from inlay.hub.manifest import CanarySpec

__all__ = ["CanaryError", "gradient", "record", "verify"]

Forward: TypeAlias = Callable[[Sequence[Message]], Tensor]

PROMPT = "What is shown?"
PROBES = 16
"""Logits stored."""
HALF_PRECISION = 10.0
"""How much wider the tolerance is where the backbone computes in 16 bit."""


class CanaryError(InlayError):
    """After attach the model does not give the numbers that the bundle promises."""


def gradient(size: int = 64) -> Image.Image:
    """A picture from a formula: red grows to the right, green downwards, blue in a coarse checkerboard.

    Example:
        >>> gradient(64).getpixel((63, 0))
        (252, 0, 255)
    """
    picture = Image.new("RGB", (size, size))
    step = 256 // size
    for x in range(size):
        for y in range(size):
            picture.putpixel((x, y), (x * step, y * step, 255 * ((x // 8 + y // 8) % 2)))
    return picture


def record(forward: Forward, modalities: Iterable[str]) -> CanarySpec:
    """Run the canary and store its answer; the tolerance is 2 % of the logits' spread.

    Args:
        forward: next-token logits ``[vocabulary]`` for a conversation, such as :meth:`MultimodalModel.probe`.
        modalities: what the model takes in beside text.
    """
    media = dict.fromkeys(modalities, "gradient")
    logits = forward([_question(PROMPT, media)])
    step = max(1, len(logits) // PROBES)
    picked = sorted({int(logits.argmax()), *range(0, len(logits), step)})[: PROBES + 1]
    return CanarySpec(
        prompt=PROMPT,
        media=media,
        positions=(-1,) * len(picked),
        token_ids=tuple(picked),
        logits=tuple(round(float(logits[index]), 6) for index in picked),
        tolerance=round(0.02 * float(logits.std()) + 1e-6, 6),
    )


def verify(forward: Forward, canary: CanarySpec, dtype: torch.dtype) -> float:
    """Run the canary again.

    Args:
        forward: as above.
        canary: what a bundle stores.
        dtype: in which the LLM computes; 16 bit widens the tolerance.

    Returns:
        The largest difference.

    Raises:
        CanaryError: it is above the tolerance.
    """
    logits = forward([_question(canary.prompt, canary.media)])
    if not 0 <= min(canary.token_ids) <= max(canary.token_ids) < len(logits):
        raise CanaryError(f"the canary speaks of token {max(canary.token_ids)}, the model has {len(logits)}")
    difference = float((logits[list(canary.token_ids)] - torch.tensor(canary.logits)).abs().max())
    allowed = canary.tolerance * (1.0 if dtype == torch.float32 else HALF_PRECISION)
    if not difference <= allowed:
        raise CanaryError(
            f"after attach the stored test input gives logits that differ by {difference:.4g} (allowed {allowed:.4g}): "
            "the adapter is not doing what it did when it was saved. Check the versions of transformers and peft "
            "against the bundle's, or attach with verify=False to look closer"
        )
    return difference


def _question(prompt: str, media: Mapping[str, str]) -> Message:
    parts: list[Part] = [MediaPart("image", gradient()) for name in media if name == "image"]
    return Message("user", (*parts, TextPart(prompt)))
