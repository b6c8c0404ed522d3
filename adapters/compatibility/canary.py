"""The canary: a tiny input made from a formula, and the logits that the attached model must give for it.

A bundle on disk can be intact and still have no effect once attached: a renamed module, a dropped key, a changed
default in a library. The canary runs the attached model once and compares numbers, so that a silent no-op becomes an
error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageChops
from torch import Tensor

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part, TextPart
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.features import Features
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.video import Video
from inlay.hub.errors import InlayError
from inlay.hub.format.manifest import CanarySpec, PortSpec

__all__ = ["CanaryError", "drift", "gradient", "pattern", "record", "sweep", "verify", "wave"]

Forward: TypeAlias = Callable[[Sequence[Message]], Tensor]
Condition: TypeAlias = Callable[[Sequence[Message]], Mapping[Modality, Tensor]]
"""Conditioning ``[1, tokens, width]`` of the media in the assistant's turns of a conversation."""

PROMPT = "What is shown?"
PROBES = 16
"""Logits stored."""
HALF_PRECISION = 10.0
"""Factor on the tolerance if the backbone computes in 16 bit."""


WIDE = 0.05
"""A stored tolerance above this share of the logits' spread was recorded in 16 bit."""


class CanaryError(InlayError):
    """The attached model gives other logits than those stored in the bundle."""


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


def sweep(rate: int = 16_000) -> Sound:
    """Two seconds from a formula: a tone that rises from 100 to 4,000 Hz.

    Example:
        >>> sweep().seconds
        2.0
    """
    time = np.arange(2 * rate) / rate
    wave = 0.5 * np.sin(2 * np.pi * (100 * time + 975 * time**2))
    return Sound(wave.astype(np.float32), rate)


def drift(size: int = 64) -> Video:
    """Two seconds from a formula: the picture of :func:`gradient`, moving to the right, four frames a second.

    Example:
        >>> len(drift().frames), drift().seconds
        (8, 2.0)
    """
    picture = gradient(size)
    return Video(tuple(ImageChops.offset(picture, step * size // 8, 0) for step in range(8)), 4.0)


def wave(tokens: int = 4, width: int = 8) -> Features:
    """Features from a formula: sines whose frequency grows with the place of a value, shifted from token to token.

    Example:
        >>> wave(2, 3).values.shape
        torch.Size([2, 3])
    """
    token, place = torch.arange(tokens)[:, None], torch.arange(width)[None]
    return Features(torch.sin(0.1 * (place + 1) * (token + 1)).float(), "the canary")


PATTERNS: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "image": ("gradient", gradient),
    "audio": ("sweep", sweep),
    "video": ("drift", drift),
    "features": ("wave", wave),
}
"""Modality -> the name of its pattern and the function that makes it."""


def pattern(modality: str, port: PortSpec | None) -> Any:
    """The pattern of a modality as a medium for an encoder.

    Args:
        modality: a key of :data:`PATTERNS`.
        port: the port of the encoder, which gives the sizes of features.
    """
    make = PATTERNS[modality][1]
    return make(port.tokens, port.width) if modality == "features" and port is not None else make()


def record(
    forward: Forward,
    modalities: Iterable[str],
    condition: Condition | None = None,
    made: Iterable[Modality] = (),
    dtype: torch.dtype = torch.float32,
    ports: Mapping[str, PortSpec] | None = None,
) -> CanarySpec:
    """Run the canary and store its answer; the tolerance is 2 % of the logits' spread, and 20 % in 16 bit.

    Args:
        forward: function from a conversation to next-token logits ``[vocabulary]``, such as
            :meth:`MultimodalModel.probe`.
        modalities: input modalities other than text.
        condition: function from a conversation to conditioning, such as :meth:`MultimodalModel.probe_conditioning`.
        made: modalities of the output projectors.
        dtype: the dtype in which the LLM computes.
        ports: the ports of the encoders; needed for features, whose pattern has the sizes of their port.
    """
    media = {name: PATTERNS[name][0] for name in modalities}
    held = ports or {}
    logits = forward([_question(PROMPT, media, held)])
    step = max(1, len(logits) // PROBES)
    picked = sorted({int(logits.argmax()), *range(0, len(logits), step)})[: PROBES + 1]
    picked = [index for index in picked if logits[index].isfinite()]  # -inf: no row of weights
    # The manifest's schema allows at most 5 % of the largest logit.
    largest = 0.05 * max((abs(float(logits[index])) for index in picked), default=0.0)
    plain = 0.02 * float(logits[logits.isfinite()].std()) + 1e-6
    return CanarySpec(
        prompt=PROMPT,
        media=media,
        positions=(-1,) * len(picked),
        token_ids=tuple(picked),
        logits=tuple(round(float(logits[index]), 6) for index in picked),
        tolerance=round(max(plain, min(_slack(dtype) * plain, largest)), 6),
        conditioning={
            str(modality): tuple(round(float(value), 6) for value in _spaced(values))
            for modality, values in _conditioned(condition, PROMPT, media, tuple(made), held).items()
        },
    )


def _slack(dtype: torch.dtype) -> float:
    return 1.0 if dtype == torch.float32 else HALF_PRECISION


def verify(
    forward: Forward,
    canary: CanarySpec,
    dtype: torch.dtype,
    condition: Condition | None = None,
    ports: Mapping[str, PortSpec] | None = None,
) -> float:
    """Run the canary again.

    Args:
        forward: as in :func:`record`.
        canary: the canary of the bundle.
        dtype: the dtype in which the LLM computes; 16 bit widens the tolerance.
        condition: as in :func:`record`.
        ports: as in :func:`record`.

    Returns:
        The largest difference of a logit.

    Raises:
        CanaryError: a difference is above the tolerance.
    """
    logits = forward([_question(canary.prompt, canary.media, ports or {})])
    if not 0 <= min(canary.token_ids) <= max(canary.token_ids) < len(logits):
        raise CanaryError(f"the canary names token {max(canary.token_ids)}, and the model has {len(logits)} tokens")
    difference = float((logits[list(canary.token_ids)] - torch.tensor(canary.logits)).abs().max())
    slack = _slack(dtype)
    # A canary that was recorded in 16 bit has the wide tolerance already.
    wide = canary.tolerance > WIDE * float(torch.tensor(canary.logits).std())
    allowed = canary.tolerance * (1.0 if wide else slack)
    slack = HALF_PRECISION if wide else slack
    if not difference <= allowed:
        raise CanaryError(
            f"after attach the stored test input gives logits that differ by {difference:.4g} (allowed {allowed:.4g}): "
            "the adapter has another effect than when it was saved. Compare the versions of torch and transformers "
            "with those in the bundle, or attach with verify=False to look closer"
        )
    _verify_conditioning(condition, canary, slack, ports or {})
    return difference


def _verify_conditioning(
    condition: Condition | None, canary: CanarySpec, slack: float, ports: Mapping[str, PortSpec]
) -> None:
    if condition is None:
        return
    promised: Any = canary.conditioning
    given = _conditioned(condition, canary.prompt, canary.media, tuple(promised), ports)
    for modality, values in promised.items():
        stored, found = torch.tensor(values), _spaced(given.get(modality, torch.zeros(0)))
        allowed = slack * (0.02 * float(stored.std(correction=0)) + 1e-6)
        if len(stored) != len(found) or not float((stored - found).abs().max()) <= allowed:
            raise CanaryError(
                f"after attach the output projector for {modality} gives other values for the stored test input than "
                f"when it was saved (allowed {allowed:.4g}): compare the versions of torch and transformers with "
                "those in the bundle, or attach with verify=False to look closer"
            )


def _conditioned(
    condition: Condition | None,
    prompt: str,
    media: Mapping[str, str],
    made: Sequence[Modality],
    ports: Mapping[str, PortSpec],
) -> Mapping[Modality, Tensor]:
    """Conditioning for an answer that requests one medium of each modality, in the order of names."""
    if condition is None or not made:
        return {}
    return condition(
        [_question(prompt, media, ports), Message("assistant", tuple(MadePart(name) for name in sorted(made)))]
    )


def _spaced(values: Tensor) -> Tensor:
    flat = values.flatten().float().cpu()
    return flat[:: max(1, len(flat) // PROBES)][:PROBES]


def _question(prompt: str, media: Mapping[str, str], ports: Mapping[str, PortSpec]) -> Message:
    # A manifest keeps no order, and the order of media is part of the question.
    parts: list[Part] = []
    for name in sorted(media, key=[*PATTERNS, *media].index):
        if name not in PATTERNS or media[name] != PATTERNS[name][0]:
            raise CanaryError(
                f"the canary needs pattern {media[name]!r} for {name!r}, unknown to this version; upgrade inlay"
            )
        parts.append(MediaPart(name, pattern(name, ports.get(name))))  # type: ignore[arg-type]  # a key of PATTERNS is a modality
    return Message("user", (*parts, TextPart(prompt)))
