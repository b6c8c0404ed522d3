"""Small frozen models of every sense, and media on disk, for tests that need all of them at once.

A generator here is a code book: a caption's conditioning is a fixed random vector; what is made of a conditioning is
a medium that carries the caption nearest to it. So what was made can be read back, by :func:`caption_in`.
"""

from __future__ import annotations

import hashlib
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.video import Video
from inlay.hub.format.manifest import PortSpec

WIDTH = 12
CAPTIONS = ("a red disc", "a blue ring", "a low beep", "two high beeps", "a disc that rolls", "a ring that falls")


class SmallEncoder(nn.Module):
    """Statistics of a medium through a fixed random layer: ``[n, 1, width]``."""

    family = "small"
    tokens = 1

    def __init__(self, modality: Modality, width: int = WIDTH) -> None:
        super().__init__()
        self.modality, self.width = modality, width
        self.layer = nn.Linear(8, width).requires_grad_(False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.randn(width, 8, generator=torch.Generator().manual_seed(len(modality))))
        self.runs = 0

    @property
    def port(self) -> PortSpec:
        return PortSpec(
            kind="encoder",
            family=self.family,
            width=self.width,
            tokens=1,
            source="tiny/small",
            weights=weights_digest(self),
        )

    @property
    def device(self) -> torch.device:
        return self.layer.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.layer.weight.dtype

    def preprocess(self, media: Sequence[Any], geometry: Any) -> Tensor:
        return torch.stack([_statistics(medium) for medium in media])

    def encode(self, inputs: Tensor) -> Tensor:
        self.runs += 1
        with torch.no_grad():
            features: Tensor = self.layer(inputs.to(self.device))[:, None]
        return features


def _statistics(medium: Any) -> Tensor:
    values: np.ndarray[Any, np.dtype[np.float32]]
    if isinstance(medium, Sound):
        values = np.asarray(medium.samples, dtype=np.float32)
    elif isinstance(medium, Video):
        values = np.stack([np.asarray(frame, dtype=np.float32) for frame in medium.frames]).ravel() / np.float32(255)
    else:
        values = np.asarray(medium, dtype=np.float32).ravel() / np.float32(255)
    parts = np.array_split(values, 8)
    return torch.tensor([float(part.mean()) if len(part) else 0.0 for part in parts])


class CodeBook(nn.Module):
    """A generator whose media carry the known caption that is nearest to a conditioning."""

    family = "codebook"

    def __init__(self, modality: Modality, captions: Sequence[str], *, tokens: int = 2, width: int = 6) -> None:
        super().__init__()
        self.modality, self.captions, self.tokens, self.width = modality, tuple(captions), tokens, width
        self.register_buffer("table", torch.stack([self._vector(text) for text in self.captions]))
        self.encoded = 0

    def _vector(self, text: str) -> Tensor:
        digest = hashlib.sha256(f"{self.modality} {text}".encode()).digest()
        source = torch.Generator().manual_seed(int.from_bytes(digest[:6], "big"))
        return torch.randn(self.tokens, self.width, generator=source)

    @property
    def port(self) -> PortSpec:
        return PortSpec(
            kind="generator",
            family=self.family,
            width=self.width,
            tokens=self.tokens,
            source=f"tiny/{self.modality}",
            weights=weights_digest(self),
        )

    @property
    def device(self) -> torch.device:
        return self.get_buffer("table").device

    @property
    def dtype(self) -> torch.dtype:
        return self.get_buffer("table").dtype

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        self.encoded += len(texts)
        return torch.stack([self._vector(text) for text in texts])

    def generate(self, conditioning: Tensor, **options: Any) -> list[Any]:
        table = self.get_buffer("table")
        far = torch.cdist(conditioning.flatten(1).float(), table.flatten(1))
        return [_medium(self.modality, self.captions[index]) for index in far.argmin(dim=1).tolist()]

    def diffusion_loss(self, conditioning: Tensor, latents: Tensor, **options: Any) -> Tensor:
        return (conditioning.flatten(1).mean(dim=1) - latents).square().mean()

    def encode_media(self, media: Sequence[Any]) -> Tensor:
        return torch.stack([_statistics(medium).mean() for medium in media])


def _medium(modality: Modality, caption: str) -> Any:
    """A medium whose bytes are the caption."""
    data = caption.encode().ljust(64, b"\0")
    picture = Image.frombytes("L", (8, 8), data).convert("RGB")
    if modality == "image":
        return picture
    if modality == "video":
        return Video((picture, picture), 2.0)
    return Sound(np.frombuffer(data, dtype=np.uint8).astype(np.float32) / np.float32(256), 1600)


def caption_in(medium: Any) -> str:
    """The caption that a medium carries."""
    if isinstance(medium, Sound):
        data = bytes(np.round(medium.samples * 256).astype(np.uint8).tolist())
    else:
        picture = medium.frames[0] if isinstance(medium, Video) else medium
        data = picture.convert("L").tobytes()
    return data.rstrip(b"\0").decode()


def write_wav(path: Path, tone: float, seconds: float = 0.2, rate: int = 8000) -> Path:
    """A sine of some pitch."""
    time = np.arange(int(seconds * rate)) / rate
    samples = (np.sin(2 * np.pi * tone * time) * 20000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path
