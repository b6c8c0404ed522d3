"""Sounds from files nobody vouched for: one call that gives one channel of samples or a clear error.

WAV, FLAC, Ogg (Vorbis, Opus) and MP3 are decoded by libsndfile; which of them a file is is told from its first bytes,
so that none of its other twenty readers is asked. Length, rate and channels are checked in the header before a sample
is decoded, and again while decoding. The rate stays that of the file: encoders bring sounds to their own.

- Several channels become one by their mean, block by block.
- Values beyond -1..1 (floating point files) are clipped; what is not a number is an error.
- A silent sound is a sound. One without samples is an error, and so is one longer than the cap: nothing is cut here.
- FLAC and WAV say how long they are, so a file that was cut off is an error. Ogg and MP3 are streams and are read as
  far as they go.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inlay.adapters.media.sound import Sound
from inlay.adapters.media.untrusted import MediaError, opened
from inlay.hub.safety.text import shown

__all__ = ["MAX_SECONDS", "RATES", "AudioSource", "load_audio"]

MAX_SECONDS = 1800.0
"""Longest sound that is decoded: half an hour, 345 MB at 48 kHz."""
RATES = (1_000, 384_000)
"""Lowest and highest rate, in Hz."""
_MAX_SAMPLES = 1 << 27
"""Half a GiB, for those who sample high."""
_MAX_CHANNELS = 64
_BLOCK = 1 << 16
_UNKNOWN = 1 << 62
"""Samples from here on are libsndfile's way to say that it cannot tell."""

AudioSource: TypeAlias = str | Path | Sound | tuple[Any, int]
"""A path, a sound in memory, or samples ``[n]`` or ``[n, channels]`` with their rate."""


def load_audio(source: AudioSource, *, root: Path | None = None, max_seconds: float = MAX_SECONDS) -> Sound:
    """Read a sound as one channel at its own rate.

    Args:
        source: a path, or samples in memory (checked and mixed down in the same way).
        root: folder that a path must stay in, symbolic links followed; a relative path is taken from there.
        max_seconds: longest sound that is decoded.

    Raises:
        MediaError: missing, empty, damaged, too long, not WAV/FLAC/Ogg/MP3, outside of `root`, a URL, no samples, a
            value that is no number; or a file, and soundfile is not installed.

    Example:
        >>> load_audio((np.array([[1.0, 0.0], [0.5, 0.5]]), 16000)).samples.tolist()
        [0.5, 0.5]
    """
    if isinstance(source, Sound):
        return _checked(source.samples, source.rate, "the sound in memory", max_seconds)
    if isinstance(source, tuple) and len(source) == 2:
        return _checked(source[0], source[1], "the sound in memory", max_seconds)
    if not isinstance(source, str | Path):
        raise MediaError(
            f"expected a path, a Sound or a pair of samples and their rate, got {type(source).__name__}; an array "
            "alone does not say how fast it is: give (samples, rate)"
        )
    with opened(source, root) as (file, name):
        return _read(file, name, max_seconds)


def _checked(samples: Any, rate: Any, name: str, max_seconds: float) -> Sound:
    values = np.asarray(samples)
    if values.dtype.kind not in "fiu" or values.ndim not in (1, 2):
        raise MediaError(
            f"{name}: expected numbers [n] or [n, channels], got {values.dtype} of shape {list(values.shape)}"
        )
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer):
        raise MediaError(f"{name}: expected the rate as an integer in Hz, got {shown(str(rate))}")
    channels = 1 if values.ndim == 1 else values.shape[1]
    _check_header(len(values), int(rate), channels, name, max_seconds)
    if values.dtype.kind in "iu":
        info = np.iinfo(values.dtype)
        centre = (info.max + 1) / 2 if values.dtype.kind == "u" else 0
        values = (values.astype(np.float64) - centre) / (info.max + 1 - centre)
    return _finished(values if values.ndim == 1 else values.mean(axis=1), int(rate), name)


def _read(file: BinaryIO, name: str, max_seconds: float) -> Sound:
    kind = _kind(file, name)
    try:
        import soundfile
    except ImportError as error:
        raise MediaError(f"{name}: reading sounds needs soundfile: pip install 'inlay[audio]'") from error
    try:
        with soundfile.SoundFile(file) as reader:
            if reader.format not in kind:
                raise MediaError(f"{name}: begins as {kind[0]} and goes on as {reader.format}")
            if reader.frames >= _UNKNOWN:
                raise MediaError(f"{name}: the header does not say how long the sound is; write the file again")
            _check_header(reader.frames, reader.samplerate, reader.channels, name, max_seconds)
            samples, rate, promised = _mixed(reader, max_seconds), reader.samplerate, reader.frames
    except soundfile.SoundFileError as error:
        raise MediaError(f"{name}: the sound is damaged or cut off: {error}") from error
    if len(samples) < promised and kind[0] in ("WAV", "FLAC"):
        raise MediaError(f"{name}: the sound is cut off: {promised} samples were promised, {len(samples)} came")
    return _finished(samples, rate, name)


def _kind(file: BinaryIO, name: str) -> tuple[str, ...]:
    """The names that libsndfile has for what the first bytes say."""
    head = file.read(12)
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    if not head:
        raise MediaError(f"{name}: the file is empty")
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        promised = int.from_bytes(head[4:8], "little")
        # A writer that does not know the length yet leaves 0 or all ones; an odd chunk may lack its last byte.
        if promised not in (0, 0xFFFFFFFF) and promised + 8 > size + 1:
            raise MediaError(f"{name}: the sound is cut off: {promised + 8} bytes were promised, the file has {size}")
        return ("WAV", "WAVEX", "RF64")
    if head[:4] == b"fLaC":
        return ("FLAC",)
    if head[:4] == b"OggS":
        return ("OGG",)
    if head[:3] == b"ID3" or (head[0] == 0xFF and len(head) > 1 and head[1] & 0xE6 == 0xE2):
        return ("MP3",)
    raise MediaError(f"{name}: expected a WAV, FLAC, Ogg or MP3 file, got one that starts with {shown(head[:8])}")


def _check_header(frames: int, rate: int, channels: int, name: str, max_seconds: float) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise MediaError(f"{name}: expected a rate from {RATES[0]} to {RATES[1]} Hz, got {rate}")
    if not 1 <= channels <= _MAX_CHANNELS:
        raise MediaError(f"{name}: expected 1 to {_MAX_CHANNELS} channels, got {channels}")
    if frames < 1:
        raise MediaError(f"{name}: the sound has no samples")
    if frames > min(max_seconds * rate, _MAX_SAMPLES):
        raise MediaError(
            f"{name}: {frames / rate:.1f} s at {rate} Hz are too long: at most {max_seconds:.0f} s and "
            f"{_MAX_SAMPLES:,} samples; cut the sound"
        )


def _mixed(reader: Any, max_seconds: float) -> NDArray[np.float32]:
    """Decode block by block and mix down, never more than the cap, whatever the header says."""
    blocks: list[NDArray[np.float32]] = []
    left = int(min(max_seconds * reader.samplerate, _MAX_SAMPLES))
    while left > 0:
        block = reader.read(min(_BLOCK, left), dtype="float32", always_2d=True)
        if not len(block):
            break
        blocks.append(block.mean(axis=1))
        left -= len(block)
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)


def _finished(samples: NDArray[Any], rate: int, name: str) -> Sound:
    if not len(samples):
        raise MediaError(f"{name}: the sound has no samples")
    if not np.isfinite(samples).all():
        raise MediaError(f"{name}: the sound holds values that are not finite numbers")
    return Sound(np.clip(samples, -1.0, 1.0).astype(np.float32), rate)
