"""Frozen generators: from conditioning to media. One file each."""

from __future__ import annotations

from inlay.adapters.generators.audio import AudioLdm
from inlay.adapters.generators.diffusion import LatentDiffusion
from inlay.adapters.generators.image import StableDiffusion
from inlay.adapters.generators.loading import load_generator
from inlay.adapters.generators.protocol import Generator, GeneratorError, Made, Seed, Size
from inlay.adapters.generators.text import ClapText, ClipText, TextEncoder
from inlay.adapters.generators.video import TextToVideo

__all__ = [
    "AudioLdm",
    "ClapText",
    "ClipText",
    "Generator",
    "GeneratorError",
    "LatentDiffusion",
    "Made",
    "Seed",
    "Size",
    "StableDiffusion",
    "TextEncoder",
    "TextToVideo",
    "load_generator",
]
