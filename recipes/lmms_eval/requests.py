"""Requests of lmms-eval as conversations and generation options.

A medium is a PIL image, a path whose ending gives its modality, a dictionary with a path under ``url`` or ``path``, or
an audio row of ``datasets``: ``{"array": ..., "sampling_rate": ...}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError

__all__ = ["RequestError", "conversation", "cut_at", "medium", "options_of", "question"]

_ENDINGS: dict[Modality, frozenset[str]] = {
    "image": frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tiff", ".webp"}),
    "audio": frozenset({".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus"}),
}
"""File suffixes of pictures and sounds, as in lmms-eval, where every other file is a clip."""
_PASSED = ("max_new_tokens", "top_p", "top_k", "num_beams", "repetition_penalty", "min_new_tokens")
_DEFAULT_TOKENS = 1024
"""Limit on new tokens for tasks without one, as in lmms-eval's own models."""


class RequestError(InlayError):
    """A request of lmms-eval has a form that inlay does not support."""


def question(text: str, media: Iterable[Any]) -> tuple[Message, ...]:
    """A question of a task without chat messages: all media, then the text."""
    return (Message("user", (*(medium(held) for held in media), TextPart(text))),)


def conversation(messages: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """The chat messages of a task, whose content is a list of ``{"type": "text" | "image" | ..., ...}``."""
    return tuple(Message(held["role"], tuple(_part(part) for part in held["content"])) for held in messages)


def _part(part: Mapping[str, Any]) -> TextPart | MediaPart:
    if part["type"] == "text":
        return TextPart(str(part["text"]))
    return medium(part["url"], part["type"])


def medium(held: Any, modality: Modality | None = None) -> MediaPart:
    """A medium of a task.

    Args:
        held: the medium in one of the forms at the top of this file.
        modality: the modality, if the task gives it.

    Raises:
        RequestError: another kind of object, or a part of a clip.
    """
    if isinstance(held, Image.Image):
        return MediaPart("image", held.convert("RGB"))
    if isinstance(held, Mapping) and "array" in held and "sampling_rate" in held:
        samples = np.asarray(held["array"], np.float32)
        return MediaPart("audio", Sound(samples.mean(axis=0) if samples.ndim == 2 else samples, held["sampling_rate"]))
    if isinstance(held, Mapping):
        if any(held.get(name) is not None for name in ("video_start", "video_end", "start_time", "end_time")):
            raise RequestError("expected a whole clip, got a part of one; cut the file first")
        return medium(held.get("url") or held.get("path"), held.get("type", modality))
    if isinstance(held, str | Path):
        ending = Path(held).suffix.lower()
        named: Modality = next((name for name, endings in _ENDINGS.items() if ending in endings), "video")
        return MediaPart(modality or named, Path(held))
    raise RequestError(
        f"expected a picture, a path or an audio row, got {type(held).__name__}; use `inlay serve` with lmms-eval's "
        "model `openai`"
    )


def options_of(given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...], list[str]]:
    r"""Options of ``generate``, texts that end an answer, and names of options without effect.

    Args:
        given: ``generation_kwargs`` of a task.

    Example:
        >>> options_of({"max_new_tokens": 16, "temperature": 0, "until": ["\n\n"], "image_size": 3})
        ({'max_new_tokens': 16, 'do_sample': False}, ('\n\n',), ['image_size'])
    """
    until = given.get("until") or ()
    stop = (until,) if isinstance(until, str) else tuple(until)
    options = {name: given[name] for name in _PASSED if given.get(name) is not None}
    options.setdefault("max_new_tokens", _DEFAULT_TOKENS)
    temperature = float(given.get("temperature") or 0)
    options["do_sample"] = temperature > 0
    if temperature > 0:
        options["temperature"] = temperature
    else:
        options.pop("top_p", None)
        options.pop("top_k", None)
    known = {*_PASSED, "until", "temperature", "do_sample"}
    return options, stop, sorted(set(given) - known)


def cut_at(text: str, stop: Iterable[str]) -> str:
    r"""The text up to the first of these texts.

    Example:
        >>> cut_at("red\n\nQ: ", ["Q:", "\n\n"])
        'red'
    """
    return text[: min([found for end in stop if end and (found := text.find(end)) >= 0], default=len(text))]
