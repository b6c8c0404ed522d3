"""Frozen generators: from conditioning to media. One file each."""

from __future__ import annotations

from inlay.adapters.generators.protocol import Generator, GeneratorError, Made, Seed, Size

__all__ = ["Generator", "GeneratorError", "Made", "Seed", "Size"]
