"""Adapters: frozen backbones, the small parts that plug into them, and the way from a message to an answer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter, AttachError, OtherWeightsWarning
    from inlay.adapters.backbone import Backbone, BackboneError
    from inlay.adapters.canary import CanaryError
    from inlay.adapters.encoders import (
        ClipEncoder,
        EvaEncoder,
        ImageEncoder,
        QFormerEncoder,
        VisionEncoder,
        VitEncoder,
    )
    from inlay.adapters.interface import IncompatibleBackbone, Report
    from inlay.adapters.language import LanguageModel
    from inlay.adapters.layout import Layout, LayoutError
    from inlay.adapters.lora import LoraConfig
    from inlay.adapters.messages import MediaPart, Message, MessageError, TextPart, parse_messages
    from inlay.adapters.model import MultimodalModel
    from inlay.adapters.prompt import PromptTokenizer
    from inlay.adapters.rank import rank_answers
    from inlay.adapters.reply import Reply

_HOMES = {
    "Adapter": "adapter",
    "AttachError": "adapter",
    "Backbone": "backbone",
    "BackboneError": "backbone",
    "CanaryError": "canary",
    "ClipEncoder": "encoders",
    "EvaEncoder": "encoders",
    "ImageEncoder": "encoders",
    "IncompatibleBackbone": "interface",
    "LanguageModel": "language",
    "Layout": "layout",
    "LayoutError": "layout",
    "LoraConfig": "lora",
    "MediaPart": "messages",
    "Message": "messages",
    "MessageError": "messages",
    "MultimodalModel": "model",
    "OtherWeightsWarning": "adapter",
    "PromptTokenizer": "prompt",
    "QFormerEncoder": "encoders",
    "Reply": "reply",
    "Report": "interface",
    "TextPart": "messages",
    "VisionEncoder": "encoders",
    "VitEncoder": "encoders",
    "parse_messages": "messages",
    "rank_answers": "rank",
}

__all__ = [
    "Adapter",
    "AttachError",
    "Backbone",
    "BackboneError",
    "CanaryError",
    "ClipEncoder",
    "EvaEncoder",
    "ImageEncoder",
    "IncompatibleBackbone",
    "LanguageModel",
    "Layout",
    "LayoutError",
    "LoraConfig",
    "MediaPart",
    "Message",
    "MessageError",
    "MultimodalModel",
    "OtherWeightsWarning",
    "PromptTokenizer",
    "QFormerEncoder",
    "Reply",
    "Report",
    "TextPart",
    "VisionEncoder",
    "VitEncoder",
    "parse_messages",
    "rank_answers",
]


def __getattr__(name: str) -> Any:
    """Public names load on first use, so that ``inlay.adapters.messages`` does not cost an import of transformers."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
