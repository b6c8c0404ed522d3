"""Adapters with a tiling on tiny backbones, and conversations about pictures."""

from __future__ import annotations

from typing import Any

import torch

from inlay.adapters import Adapter, Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import MlpConfig

__all__ = ["RULES", "asked", "picture", "tiled"]

RULES = ["anyres", "tiles", "tiles:1-4", "split:2"]


def tiled(backbone: Backbone, rule: str | None, seed: int = 3, **options: Any) -> Adapter:
    torch.manual_seed(seed)
    return Adapter.for_backbone(
        backbone,
        system="llava",
        name="tiny",
        layout=Layout(template="vicuna_v1", tiling=rule),
        **{"inputs": {"image": MlpConfig()}} | options,
    )


def asked(*parts: Any, answer: str | None = "red") -> tuple[Message, ...]:
    content = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    user = Message("user", content)
    return (user,) if answer is None else (user, Message("assistant", (TextPart(answer),)))


def picture(image: Any) -> MediaPart:
    return MediaPart("image", image)
