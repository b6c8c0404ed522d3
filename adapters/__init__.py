"""Adapters: frozen backbones, the small parts that plug into them, and the way from a message to an answer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter, AttachError, OtherWeightsWarning
    from inlay.adapters.audio_file import load_audio
    from inlay.adapters.backbone import Backbone, BackboneError
    from inlay.adapters.canary import CanaryError
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
        load_generator,
    )
    from inlay.adapters.int8_gate import Quantised, QuantiseError, quantise
    from inlay.adapters.interface import IncompatibleBackbone, Report
    from inlay.adapters.language import LanguageModel
    from inlay.adapters.layout import Layout, LayoutError
    from inlay.adapters.lora import LoraConfig
    from inlay.adapters.media import load_image
    from inlay.adapters.messages import MadePart, MediaPart, Message, MessageError, TextPart, parse_messages
    from inlay.adapters.model import MultimodalModel
    from inlay.adapters.prompt import PromptTokenizer
    from inlay.adapters.rank import rank_answers
    from inlay.adapters.reply import Reply
    from inlay.adapters.sound import Sound
    from inlay.adapters.tokens import TokensConfig
    from inlay.adapters.video import Video
    from inlay.adapters.video_file import load_video

_HOMES = {
    "Adapter": "adapter",
    "AttachError": "adapter",
    "AudioEncoder": "encoders",
    "AudioLdm": "generators",
    "Backbone": "backbone",
    "BackboneError": "backbone",
    "BeatsEncoder": "encoders",
    "CanaryError": "canary",
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
    "IncompatibleBackbone": "interface",
    "LanguageModel": "language",
    "Layout": "layout",
    "LayoutError": "layout",
    "LoraConfig": "lora",
    "MadePart": "messages",
    "MediaPart": "messages",
    "Message": "messages",
    "MessageError": "messages",
    "MultimodalModel": "model",
    "OtherWeightsWarning": "adapter",
    "PromptTokenizer": "prompt",
    "QFormerEncoder": "encoders",
    "QuantiseError": "int8_gate",
    "Quantised": "int8_gate",
    "Reply": "reply",
    "Report": "interface",
    "Sound": "sound",
    "StableDiffusion": "generators",
    "TextPart": "messages",
    "TextToVideo": "generators",
    "TokensConfig": "tokens",
    "Video": "video",
    "VisionEncoder": "encoders",
    "VitEncoder": "encoders",
    "WhisperAudioEncoder": "encoders",
    "load_audio": "audio_file",
    "load_generator": "generators",
    "load_image": "media",
    "load_video": "video_file",
    "parse_messages": "messages",
    "quantise": "int8_gate",
    "rank_answers": "rank",
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
    """Public names load on first use, so that ``inlay.adapters.messages`` does not cost an import of transformers."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
