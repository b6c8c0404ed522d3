"""Adapters: frozen backbones, the small parts that plug into them, and the way from a message to an answer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter, AttachError, OtherWeightsWarning
    from inlay.adapters.backbone import Backbone, BackboneError
    from inlay.adapters.bundles.int8_gate import Quantised, QuantiseError, quantise
    from inlay.adapters.chat.rank_answers import rank_answers
    from inlay.adapters.chat.reply import Reply
    from inlay.adapters.compatibility.canary import CanaryError
    from inlay.adapters.compatibility.ports import IncompatibleBackbone, Report
    from inlay.adapters.conversation.layout import Layout, LayoutError
    from inlay.adapters.conversation.messages import (
        MadePart,
        MediaPart,
        Message,
        MessageError,
        TextPart,
        parse_messages,
    )
    from inlay.adapters.encoders import (
        AudioEncoder,
        BeatsEncoder,
        ClapEncoder,
        ClipEncoder,
        Encoder,
        EvaEncoder,
        FrameEncoder,
        HubertEncoder,
        ImageBindEncoder,
        ImageEncoder,
        QFormerEncoder,
        VisionEncoder,
        VitEncoder,
        WhisperAudioEncoder,
    )
    from inlay.adapters.generators import (
        AudioLdm,
        CogVideoX,
        Generator,
        GeneratorError,
        StableDiffusion,
        TextToVideo,
    )
    from inlay.adapters.language.model import LanguageModel
    from inlay.adapters.language.prompt_tokenizer import PromptTokenizer
    from inlay.adapters.llm_parts.lora import LoraConfig
    from inlay.adapters.llm_parts.token_rows import TokensConfig
    from inlay.adapters.loading.generators import load_generator
    from inlay.adapters.media.audio import Sound, load_audio
    from inlay.adapters.media.image import load_image
    from inlay.adapters.media.video import Video, load_video
    from inlay.adapters.model import MultimodalModel

_HOMES = {
    "Adapter": "adapter",
    "AttachError": "adapter",
    "AudioEncoder": "encoders",
    "AudioLdm": "generators",
    "Backbone": "backbone",
    "BackboneError": "backbone",
    "BeatsEncoder": "encoders",
    "CanaryError": "compatibility.canary",
    "ClapEncoder": "encoders",
    "ClipEncoder": "encoders",
    "CogVideoX": "generators",
    "Encoder": "encoders",
    "EvaEncoder": "encoders",
    "FrameEncoder": "encoders",
    "Generator": "generators",
    "GeneratorError": "generators",
    "HubertEncoder": "encoders",
    "ImageBindEncoder": "encoders",
    "ImageEncoder": "encoders",
    "IncompatibleBackbone": "compatibility.ports",
    "LanguageModel": "language.model",
    "Layout": "conversation.layout",
    "LayoutError": "conversation.layout",
    "LoraConfig": "llm_parts.lora",
    "MadePart": "conversation.messages",
    "MediaPart": "conversation.messages",
    "Message": "conversation.messages",
    "MessageError": "conversation.messages",
    "MultimodalModel": "model",
    "OtherWeightsWarning": "adapter",
    "PromptTokenizer": "language.prompt_tokenizer",
    "QFormerEncoder": "encoders",
    "QuantiseError": "bundles.int8_gate",
    "Quantised": "bundles.int8_gate",
    "Reply": "chat.reply",
    "Report": "compatibility.ports",
    "Sound": "media.audio",
    "StableDiffusion": "generators",
    "TextPart": "conversation.messages",
    "TextToVideo": "generators",
    "TokensConfig": "llm_parts.token_rows",
    "Video": "media.video",
    "VisionEncoder": "encoders",
    "VitEncoder": "encoders",
    "WhisperAudioEncoder": "encoders",
    "load_audio": "media.audio",
    "load_generator": "loading.generators",
    "load_image": "media.image",
    "load_video": "media.video",
    "parse_messages": "conversation.messages",
    "quantise": "bundles.int8_gate",
    "rank_answers": "chat.rank_answers",
}

__all__ = [
    "Adapter",
    "AttachError",
    "AudioEncoder",
    "AudioLdm",
    "Backbone",
    "BackboneError",
    "BeatsEncoder",
    "CanaryError",
    "ClapEncoder",
    "ClipEncoder",
    "CogVideoX",
    "Encoder",
    "EvaEncoder",
    "FrameEncoder",
    "Generator",
    "GeneratorError",
    "HubertEncoder",
    "ImageBindEncoder",
    "ImageEncoder",
    "IncompatibleBackbone",
    "LanguageModel",
    "Layout",
    "LayoutError",
    "LoraConfig",
    "MadePart",
    "MediaPart",
    "Message",
    "MessageError",
    "MultimodalModel",
    "OtherWeightsWarning",
    "PromptTokenizer",
    "QFormerEncoder",
    "QuantiseError",
    "Quantised",
    "Reply",
    "Report",
    "Sound",
    "StableDiffusion",
    "TextPart",
    "TextToVideo",
    "TokensConfig",
    "Video",
    "VisionEncoder",
    "VitEncoder",
    "WhisperAudioEncoder",
    "load_audio",
    "load_generator",
    "load_image",
    "load_video",
    "parse_messages",
    "quantise",
    "rank_answers",
]


def __getattr__(name: str) -> Any:
    """Public names load on first use, so that one of them does not cost an import of transformers."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
