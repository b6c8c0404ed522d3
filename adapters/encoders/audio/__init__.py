"""Encoders of sound: Whisper, HuBERT and CLAP, and the filter bank that BEATs and ImageBind share."""

from __future__ import annotations

from inlay.adapters.encoders.audio.audio_encoder import AudioEncoder, window

__all__ = ["AudioEncoder", "window"]
