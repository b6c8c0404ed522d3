"""The canary: a tiny input made from a formula, and the logits that it must give after attach.

A bundle on disk can be intact and still do nothing once attached: a renamed module, a dropped key, a changed default
in a library. The canary runs the attached model once and compares numbers, so that a silent no-op becomes an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from inlay.adapters.messages import MediaPart, Message, Part, TextPart
from inlay.hub.errors import InlayError
from inlay.hub.manifest import CanarySpec

if TYPE_CHECKING:
    from inlay.adapters.model import MultimodalModel

__all__ = ["CanaryError", "gradient", "record", "verify"]

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


def record(model: MultimodalModel) -> CanarySpec:
    """Run the canary and store its answer; the tolerance is 2 % of the logits' spread."""
    media = dict.fromkeys(model.adapter.inputs, "gradient")
    logits = _logits(model, PROMPT, media)
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


def verify(model: MultimodalModel, canary: CanarySpec) -> float:
    """Run the canary again.

    Returns:
        The largest difference.

    Raises:
        CanaryError: it is above the tolerance.
    """
    logits = _logits(model, canary.prompt, canary.media)
    if max(canary.token_ids) >= len(logits):
        raise CanaryError(f"the canary speaks of token {max(canary.token_ids)}, the model has {len(logits)}")
    expected = torch.tensor(canary.logits)
    difference = float((logits[list(canary.token_ids)] - expected).abs().max())
    allowed = canary.tolerance * (1.0 if model.backbone.llm.dtype == torch.float32 else HALF_PRECISION)
    if not difference <= allowed:
        raise CanaryError(
            f"after attach the stored test input gives logits that differ by {difference:.4g} (allowed {allowed:.4g}): "
            "the adapter is not doing what it did when it was saved. Check the versions of transformers and peft "
            "against the bundle's, or attach with verify=False to look closer"
        )
    return difference


def _logits(model: MultimodalModel, prompt: str, media: object) -> Tensor:
    parts: list[Part] = [
        MediaPart("image", gradient()) for name in (media if isinstance(media, dict) else {}) if name == "image"
    ]
    question = Message("user", (*parts, TextPart(prompt)))
    was_training = model.adapter.training
    model.adapter.eval()
    try:
        with torch.no_grad():
            batch = model.batch([(question,)], generation=True)
            return model(batch, logits="all").logits[0, -1].float().cpu()
    finally:
        model.adapter.train(was_training)
