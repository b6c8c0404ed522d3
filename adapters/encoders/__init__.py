"""Frozen encoders, one file a family, and the registry by which they are loaded."""

from __future__ import annotations

from inlay.adapters.encoders.audio.any_sound import AnySoundEncoder
from inlay.adapters.encoders.audio.audio_encoder import AudioEncoder
from inlay.adapters.encoders.audio.clap import ClapEncoder
from inlay.adapters.encoders.audio.hubert import HubertEncoder
from inlay.adapters.encoders.audio.whisper import WhisperAudioEncoder
from inlay.adapters.encoders.beats import BeatsEncoder
from inlay.adapters.encoders.frames import FrameEncoder
from inlay.adapters.encoders.image.any_vision import AnyVisionEncoder
from inlay.adapters.encoders.image.clip import ClipEncoder
from inlay.adapters.encoders.image.eva import EvaEncoder
from inlay.adapters.encoders.image.eva_timm import eva_from_timm
from inlay.adapters.encoders.image.qformer import QFORMER_FAMILY, QFormerEncoder
from inlay.adapters.encoders.image.vision import VisionEncoder, squares
from inlay.adapters.encoders.image.vit import VitEncoder
from inlay.adapters.encoders.imagebind import ImageBindEncoder
from inlay.adapters.encoders.precomputed import PrecomputedEncoder, precomputed
from inlay.adapters.encoders.protocol import Encoder, EncoderError, ImageEncoder, Inputs, check_encoder
from inlay.adapters.encoders.registry import ENCODERS, register_encoder
from inlay.adapters.encoders.video.any_video import AnyVideoEncoder

__all__ = [
    "ENCODERS",
    "QFORMER_FAMILY",
    "AnySoundEncoder",
    "AnyVideoEncoder",
    "AnyVisionEncoder",
    "AudioEncoder",
    "BeatsEncoder",
    "ClapEncoder",
    "ClipEncoder",
    "Encoder",
    "EncoderError",
    "EvaEncoder",
    "FrameEncoder",
    "HubertEncoder",
    "ImageBindEncoder",
    "ImageEncoder",
    "Inputs",
    "PrecomputedEncoder",
    "QFormerEncoder",
    "VisionEncoder",
    "VitEncoder",
    "WhisperAudioEncoder",
    "check_encoder",
    "eva_from_timm",
    "precomputed",
    "register_encoder",
    "squares",
]
