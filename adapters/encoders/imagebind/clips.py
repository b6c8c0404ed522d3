"""How ImageBind samples: sounds as a few short spectrograms, videos as a few short clips of a few squares.

``clips`` windows of ``clip_seconds`` start at equal distances, the first at the beginning and the last such that it
ends with the medium; in a shorter medium they are all the whole of it. A sound that does not fill its window leaves
frames of zeros, as upstream has it, before the values are normalised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from inlay.adapters.encoders.filter_bank import log_mel
from inlay.adapters.encoders.imagebind.config import AudioConfig, VisionConfig
from inlay.adapters.media.audio import Sound, resample
from inlay.adapters.media.video import Video

__all__ = ["DEVIATION", "MEAN", "clip_starts", "crops", "spectrograms", "squares_of_clips"]

MEAN = (0.48145466, 0.4578275, 0.40821073)
"""CLIP's, of the colours."""
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's, of the colours."""


def clip_starts(seconds: float, clip_seconds: float, clips: int) -> list[float]:
    """When each clip begins.

    Example:
        >>> clip_starts(10.0, 2.0, 5), clip_starts(1.5, 2.0, 3)
        ([0.0, 2.0, 4.0, 6.0, 8.0], [0.0, 0.0, 0.0])
    """
    last = max(seconds - clip_seconds, 0.0)
    return [last * index / max(clips - 1, 1) for index in range(clips)]


def spectrograms(sound: Sound, config: AudioConfig) -> Tensor:
    """One sound -> ``[clips, 1, bands, frames]`` float32, normalised."""
    samples = torch.from_numpy(np.ascontiguousarray(resample(sound, config.rate).samples))
    rows = []
    for start in clip_starts(len(samples) / config.rate, config.clip_seconds, config.clips):
        clip = samples[int(start * config.rate) : int((start + config.clip_seconds) * config.rate)]
        mel = log_mel(clip - clip.mean(), config.rate, bands=config.bands, window="hanning")[: config.frames]
        rows.append(F.pad(mel, (0, 0, 0, config.frames - len(mel))).T)
    return (torch.stack(rows)[:, None] - config.mean) / config.deviation


def squares_of_clips(video: Video, config: VisionConfig) -> Tensor:
    """One video -> ``[clips * crops, 3, frames, size, size]`` float32, normalised."""
    held: dict[int, Tensor] = {}
    rows: list[Tensor] = []
    for start in clip_starts(video.seconds, config.clip_seconds, config.clips):
        picked = _frames(len(video.frames), video.fps, start, config)
        for index in picked:
            if index not in held:
                held[index] = _scaled(video.frames[index], config.image_size)
        clip = torch.stack([held[index] for index in picked], dim=1)
        rows += crops(clip, config.image_size, config.crops)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in (MEAN, DEVIATION))
    return (torch.stack(rows) - mean) / deviation


def crops(clip: Tensor, size: int, count: int) -> list[Tensor]:
    """Squares along the longer side: the beginning, the middle (rounded up) and the end, or the middle alone.

    Args:
        clip: ``[..., height, width]``, neither side shorter than ``size``.
        size: side of the squares.
        count: 1 or 3.
    """
    height, width = clip.shape[-2:]
    top, left = math.ceil((height - size) / 2), math.ceil((width - size) / 2)
    if count == 1:
        places = [(top, left)]
    elif height > width:
        places = [(0, left), (top, left), (height - size, left)]
    else:
        places = [(top, 0), (top, left), (top, width - size)]
    return [clip[..., y : y + size, x : x + size] for y, x in places]


def _frames(available: int, fps: float, start: float, config: VisionConfig) -> Sequence[int]:
    """The first, the last and evenly spaced frames between them of those that begin within a clip."""
    first = min(math.ceil(start * fps), available - 1)
    end = max(first + 1, min(math.ceil((start + config.clip_seconds) * fps), available))
    picks: list[int] = torch.linspace(first, end - 1, config.frames).long().tolist()
    return picks


def _scaled(picture: Image.Image, size: int) -> Tensor:
    """``[3, height, width]``, 0..1, the shorter side ``size``; bilinear without smoothing, as upstream has it."""
    pixels = torch.from_numpy(np.array(picture, dtype=np.float32)).permute(2, 0, 1)[None] / 255
    height, width = pixels.shape[-2:]
    shape = (math.floor(height / width * size), size) if width < height else (size, math.floor(width / height * size))
    return F.interpolate(pixels, size=shape, mode="bilinear", align_corners=False)[0]
