"""The other medium of losses and audits that compare two: a crop, an empty one, another row's, or a mixture."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, media_of
from inlay.adapters.encoders.protocol import load_for
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.digest import media_digest
from inlay.adapters.media.features import Features
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.video import Video
from inlay.recipes.data.rows.sample import Sample, medium_key

__all__ = ["LARGEST_CROP", "SMALLEST_CROP", "Changed", "Crop", "Mixed", "OtherFeatures", "OtherRows", "blank"]

SMALLEST_CROP, LARGEST_CROP = 0.01, 0.2
"""Share of the picture's area, as in mDPO's code (feizc/mDPO's trainer at 2221bb3, ``RandomResizedCrop``)."""
_RATIO = 4 / 3
"""Largest aspect ratio of the crop; the smallest is its inverse."""


@dataclass(frozen=True)
class Crop:
    """A random crop of 1 to 20 % of a picture, enlarged to its size, or of that share of a sound's length.

    A medium has the same crop in every epoch, so log-probabilities of it can be stored. All frames of a clip have the
    same crop.
    """

    seed: int
    """Seed of the run."""

    def __call__(self, part: MediaPart) -> MediaPart:
        """The cropped medium, in memory."""
        digest = media_digest(part.modality, part.source)
        start = hashlib.sha256(f"{self.seed} ".encode() + digest).digest()
        chance = np.random.default_rng(int.from_bytes(start[:8], "little"))
        return MediaPart(part.modality, _cut(load_medium(part.modality, part.source), chance))


def _cut(medium: Any, chance: np.random.Generator) -> Any:
    if isinstance(medium, Image.Image):
        return _crop(medium, *_box(medium.size, chance))
    share = math.exp(chance.uniform(math.log(SMALLEST_CROP), math.log(LARGEST_CROP)))
    if isinstance(medium, Sound):
        count = len(medium.samples)
        length = max(1, int(count * share))
        start = int(chance.integers(0, count - length + 1))
        kept = np.zeros_like(medium.samples)
        kept[start : start + length] = medium.samples[start : start + length]
        return Sound(kept, medium.rate)
    if isinstance(medium, Features):
        values = torch.zeros_like(medium.values)
        some = max(1, int(len(values) * share))
        begin = int(chance.integers(0, len(values) - some + 1))
        values[begin : begin + some] = medium.values[begin : begin + some]
        return Features(values, medium.name)
    video: Video = medium
    box = _box(video.frames[0].size, chance)
    return Video(tuple(_crop(frame, *box) for frame in video.frames), video.fps)


def _box(size: tuple[int, int], chance: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, width and height of a random crop."""
    width, height = size
    area = chance.uniform(SMALLEST_CROP, LARGEST_CROP) * width * height
    ratio = math.exp(chance.uniform(-math.log(_RATIO), math.log(_RATIO)))
    wide = min(width, max(1, round(math.sqrt(area * ratio))))
    high = min(height, max(1, round(math.sqrt(area / ratio))))
    return int(chance.integers(0, width - wide + 1)), int(chance.integers(0, height - high + 1)), wide, high


def _crop(picture: Image.Image, left: int, top: int, wide: int, high: int) -> Image.Image:
    return picture.crop((left, top, left + wide, top + high)).resize(picture.size, Image.Resampling.BILINEAR)


def blank(part: MediaPart) -> MediaPart:
    """A grey picture, silence, or a grey clip, of the same size or length."""
    medium = load_medium(part.modality, part.source)
    if isinstance(medium, Image.Image):
        return MediaPart(part.modality, _grey(medium.size))
    if isinstance(medium, Sound):
        return MediaPart(part.modality, Sound(np.zeros_like(medium.samples), medium.rate))
    if isinstance(medium, Features):
        return MediaPart(part.modality, Features(torch.zeros_like(medium.values), medium.name))
    return MediaPart(part.modality, Video((_grey(medium.frames[0].size),) * len(medium.frames), medium.fps))


def _grey(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, (127, 127, 127))


@dataclass(frozen=True, slots=True)
class Changed:
    """A medium that is changed lazily; equal objects give equal media."""

    part: MediaPart
    """The medium of the sample."""
    change: Callable[[MediaPart], MediaPart]
    """:func:`blank`, or :class:`Crop`."""

    @property
    def key(self) -> tuple[object, ...]:
        """Identifies the result within a run."""
        return *medium_key(self.part), self.change

    def load(self) -> MediaPart:
        """The changed medium."""
        return self.change(self.part)


class OtherRows:
    """A medium -> one of the same modality from another sample.

    Args:
        samples: the samples; the other medium is that of the next sample with a different one.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        parts = [part for sample in samples for part in media_of(sample.messages)]
        self.held: dict[Modality, list[MediaPart]] = {}
        for part in parts:
            self.held.setdefault(part.modality, []).append(part)
        self.places = {medium_key(part): place for own in self.held.values() for place, part in enumerate(own)}

    def __call__(self, part: MediaPart) -> MediaPart:
        """The other medium; the same one if there is no other."""
        own = self.held.get(part.modality, [])
        key = medium_key(part)
        start = self.places.get(key, -1) + 1
        return next((found for found in own[start:] + own[:start] if medium_key(found) != key), part)


class Mixed:
    """A medium -> a crop of it, an empty one, or another row's, for a random third of the media each.

    A model that is trained to prefer its medium to one kind of other medium does not generalise to the other kinds, and
    may still rank answers by their text alone for those.

    Args:
        samples: the samples whose media are changed or exchanged.
        seed: seed of the run; the same medium has the same other medium in every epoch.
    """

    def __init__(self, samples: Iterable[Sample], seed: int) -> None:
        self.rows, self.changes = OtherRows(samples), (Crop(seed), blank)
        kinds = [number % 3 for number in np.random.default_rng(seed).permutation(len(self.rows.places)).tolist()]
        self.kinds = dict(zip(self.rows.places, kinds, strict=True))

    def __call__(self, part: MediaPart) -> MediaPart:
        """The other medium."""
        kind = self.kinds.get(medium_key(part), 0)
        return self.rows(part) if kind == 2 else MediaPart(part.modality, Changed(part, self.changes[kind]))


class OtherFeatures:
    """Frozen features of media that are cached, and of changed ones, which are computed once.

    Args:
        model: the model whose encoders are used.
        layout: the layout whose geometry is used.
        known: function that returns the features of unchanged media.
        memory: limit on the bytes of computed features.
    """

    def __init__(
        self, model: AttachedModel, layout: Layout, known: Callable[[MediaPart], Tensor], memory: int = 1 << 30
    ) -> None:
        self.model, self.layout, self.known, self.memory = model, layout, known, memory
        self.held: dict[tuple[object, ...], Tensor] = {}

    def __call__(self, part: MediaPart) -> Tensor:
        """The features ``[tokens, width]`` of one medium; :meth:`prepare` computes those of changed ones."""
        return self.held[part.source.key] if isinstance(part.source, Changed) else self.known(part)

    def prepare(self, parts: Iterable[MediaPart]) -> None:
        """Compute the features of the changed media among the parts of a batch.

        Raises:
            MediaError: a medium cannot be read.
        """
        changed = {part.source.key: part.source for part in parts if isinstance(part.source, Changed)}
        if sum(tensor.nbytes for tensor in self.held.values()) > self.memory:
            self.held.clear()
        missing = [source for key, source in changed.items() if key not in self.held]
        for modality in sorted({source.part.modality for source in missing}):
            own = [source for source in missing if source.part.modality == modality]
            encoder = self.model.backbone.encoder(modality)
            media = [load_for(encoder, modality, source.load().source) for source in own]
            features = encoder.encode(encoder.preprocess(media, self.layout.geometry_for(modality))).cpu()
            self.held.update(zip((source.key for source in own), features, strict=True))
