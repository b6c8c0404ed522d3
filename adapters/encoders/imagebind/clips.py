"""Sampling for ImageBind: a sound as a few short spectrograms, a video as a few short clips with a few square crops.

``clips`` windows of ``clip_seconds`` start at equal distances; the first starts with the medium and the last ends with
it. The distance is that of pytorchvideo since April 2022, which ImageBind and ModaVerse pin. NExT-GPT pins version
0.1.5, which divides by the number of clips, so that the last window ends earlier. In a shorter medium each window is
the whole medium. A sound shorter than its window is padded with zero frames before normalisation, as in the authors'
code.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from inlay.adapters.encoders.audio.filter_bank import log_mel
from inlay.adapters.encoders.imagebind.config import AudioConfig, VisionConfig
from inlay.adapters.media.audio import Sound, resample
from inlay.adapters.media.video import Video

__all__ = ["DEVIATION", "MEAN", "clip_starts", "crops", "frames_of_clips", "spectrograms", "squares_of_clips"]

MEAN = (0.48145466, 0.4578275, 0.40821073)
"""CLIP's mean of each colour channel, 0..1."""
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's standard deviation of each colour channel."""


def clip_starts(seconds: float, clip_seconds: float, clips: int, *, reach_end: bool = True) -> list[Fraction]:
    """Start of each clip, in seconds: exact, since a start that is rounded down may select another sample.

    Args:
        seconds: duration of the medium.
        clip_seconds: duration of a clip.
        clips: number of clips.
        reach_end: the last clip ends with the medium; False for the distances of pytorchvideo 0.1.5.

    Example:
        >>> [float(start) for start in clip_starts(8.0, 2.0, 4)]
        [0.0, 2.0, 4.0, 6.0]
        >>> [float(start) for start in clip_starts(8.0, 2.0, 4, reach_end=False)]
        [0.0, 1.5, 3.0, 4.5]
    """
    last = Fraction(max(seconds - clip_seconds, 0.0))
    return [last / (max(clips - 1, 1) if reach_end else clips) * index for index in range(clips)]


def spectrograms(sound: Sound, config: AudioConfig, *, reach_end: bool = True) -> Tensor:
    """One sound -> ``[clips, 1, bands, frames]`` float32, normalised."""
    samples = torch.from_numpy(np.ascontiguousarray(resample(sound, config.rate).samples))
    rows = []
    length = Fraction(config.clip_seconds)
    for start in clip_starts(len(samples) / config.rate, config.clip_seconds, config.clips, reach_end=reach_end):
        clip = samples[int(start * config.rate) : int((start + length) * config.rate)]
        mel = log_mel(clip - clip.mean(), config.rate, bands=config.bands, window="hanning")[: config.frames]
        rows.append(F.pad(mel, (0, 0, 0, config.frames - len(mel))).T)
    return (torch.stack(rows)[:, None] - config.mean) / config.deviation


def frames_of_clips(count: int, fps: float, config: VisionConfig, *, reach_end: bool = True) -> list[list[int]]:
    """Indices of the frames of each clip, in a video of ``count`` frames."""
    starts = clip_starts(count / fps, config.clip_seconds, config.clips, reach_end=reach_end)
    return [_frames(count, fps, start, config) for start in starts]


def squares_of_clips(video: Video, config: VisionConfig, *, reach_end: bool = True) -> Tensor:
    """One video -> ``[clips * crops, 3, frames, size, size]`` float32, normalised."""
    held: dict[int, Tensor] = {}
    rows: list[Tensor] = []
    for picked in frames_of_clips(video.count, video.fps, config, reach_end=reach_end):
        for index in picked:
            if index not in held:
                held[index] = _scaled(video.frame(index), config.image_size)
        clip = torch.stack([held[index] for index in picked], dim=1)
        rows += crops(clip, config.image_size, config.crops)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in (MEAN, DEVIATION))
    return (torch.stack(rows) - mean) / deviation


def crops(clip: Tensor, size: int, count: int) -> list[Tensor]:
    """Square crops along the longer side: start, middle (rounded up) and end, or only the middle.

    Args:
        clip: ``[..., height, width]``, both sides at least ``size``.
        size: side of the squares, in pixels.
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


def _frames(available: int, fps: float, start: Fraction, config: VisionConfig) -> list[int]:
    """Indices of evenly spaced frames among the frames that start within a clip, including the first and the last."""
    first = min(math.ceil(start * fps), available - 1)
    end = max(first + 1, min(math.ceil((start + Fraction(config.clip_seconds)) * fps), available))
    picks: list[int] = torch.linspace(first, end - 1, config.frames).long().tolist()
    return picks


def _scaled(image: Image.Image, size: int) -> Tensor:
    """``[3, height, width]``, 0..1, the shorter side ``size``; bilinear without antialiasing (as the authors)."""
    pixels = torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1)[None] / 255
    height, width = pixels.shape[-2:]
    shape = (math.floor(height / width * size), size) if width < height else (size, math.floor(width / height * size))
    return F.interpolate(pixels, size=shape, mode="bilinear", align_corners=False)[0]
