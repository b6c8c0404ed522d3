"""Frozen encoders, one file a family."""

from __future__ import annotations

from inlay.adapters.encoders.audio import AudioEncoder
from inlay.adapters.encoders.beats import BeatsEncoder
from inlay.adapters.encoders.clap import ClapEncoder
from inlay.adapters.encoders.clip import ClipEncoder
from inlay.adapters.encoders.eva import EvaEncoder
from inlay.adapters.encoders.eva_timm import eva_from_timm
from inlay.adapters.encoders.frames import FrameEncoder
from inlay.adapters.encoders.hubert import HubertEncoder
from inlay.adapters.encoders.imagebind import ImageBindEncoder
from inlay.adapters.encoders.protocol import Encoder, ImageEncoder, Inputs
from inlay.adapters.encoders.qformer import QFORMER_FAMILY, QFormerEncoder
from inlay.adapters.encoders.vision import EncoderError, VisionEncoder, squares
from inlay.adapters.encoders.vit import VitEncoder
from inlay.adapters.encoders.whisper import WhisperAudioEncoder

__all__ = [
    "QFORMER_FAMILY",
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
    "QFormerEncoder",
    "VisionEncoder",
    "VitEncoder",
    "WhisperAudioEncoder",
    "eva_from_timm",
    "squares",
]
