"""Frozen generators: from conditioning to images, sounds and clips. One file for each architecture."""

from __future__ import annotations

from inlay.adapters.generators.audio import AudioLdm
from inlay.adapters.generators.diffusion import LatentDiffusion
from inlay.adapters.generators.image import StableDiffusion
from inlay.adapters.generators.protocol import Generator, GeneratorError, Made, MediaSize, Seed, check_generator
from inlay.adapters.generators.registry import register_generator
from inlay.adapters.generators.text import ClapText, ClipText, T5Text, TextEncoder
from inlay.adapters.generators.video import TextToVideo
from inlay.adapters.generators.video_transformer import CogVideoX

__all__ = [
    "AudioLdm",
    "ClapText",
    "ClipText",
    "CogVideoX",
    "Generator",
    "GeneratorError",
    "LatentDiffusion",
    "Made",
    "MediaSize",
    "Seed",
    "StableDiffusion",
    "T5Text",
    "TextEncoder",
    "TextToVideo",
    "check_generator",
    "register_generator",
]
