"""Sounds from untrusted files and from memory, as one channel of samples.

WAV, FLAC, Ogg (Vorbis, Opus) and MP3 are decoded by libsndfile. The format is determined by the first bytes, so that
none of its twenty other readers is used. Length, rate and channels in the header are compared with the :class:`Budget`
before a sample is decoded, and again while decoding. The rate of the file is kept; encoders resample.

- Several channels are averaged, block by block.
- Values beyond -1..1 (floating point files) are clipped; NaN and infinity are errors.
- Silence is accepted. A sound without samples, or longer than the budget, is an error: nothing is cut here.
- FLAC and WAV state their length, so a file that was cut off is an error. Ogg and MP3 are streams and are read as far
  as they go.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inlay.adapters.media.budget import BUDGET, Budget
from inlay.adapters.media.errors import MediaError
from inlay.adapters.media.sources import EncodedMedium
from inlay.adapters.media.untrusted import opened
from inlay.hub.safety.text import shown

__all__ = ["RATES", "AudioSource", "Sound", "load_audio", "resample"]

RATES = (1_000, 384_000)
"""Lowest and highest rate, in Hz."""
_MAX_CHANNELS = 64
_BLOCK = 1 << 16
_UNKNOWN = 1 << 62
"""Number of samples from which on libsndfile's value means that the length is unknown."""
_SAMPLE_BYTES = 4


@dataclass(frozen=True, eq=False)
class Sound:
    """One channel of samples in memory."""

    samples: NDArray[np.float32]
    """``[n]``, between -1 and 1."""
    rate: int
    """Samples per second, in Hz."""

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.rate


AudioSource: TypeAlias = str | Path | bytes | EncodedMedium | Sound | tuple[Any, int]
"""A path, the bytes of an encoded file, a sound in memory, or samples ``[n]`` or ``[n, channels]`` with their rate."""


def load_audio(source: AudioSource, *, root: Path | None = None, budget: Budget = BUDGET) -> Sound:
    """Read a sound as one channel at its own rate.

    Args:
        source: a path, the bytes of an encoded file, or samples in memory (checked and mixed down in the same way).
        root: folder that a path must stay in, symbolic links followed; a relative path starts there.
        budget: limits on the cost of reading.

    Raises:
        MediaError: missing, empty, damaged, too long, not WAV/FLAC/Ogg/MP3, outside of `root`, a URL, no samples, a
            value that is not finite; or the source is a file, and soundfile is not installed.

    Example:
        >>> load_audio((np.array([[1.0, 0.0], [0.5, 0.5]]), 16000)).samples.tolist()
        [0.5, 0.5]
    """
    name = "the sound in memory"
    if isinstance(source, Sound):
        return _checked(source.samples, source.rate, name, budget)
    if isinstance(source, tuple) and len(source) == 2:
        return _checked(source[0], source[1], name, budget)
    if not isinstance(source, str | Path | bytes | EncodedMedium):
        raise MediaError(
            f"expected a path, bytes, a Sound or a pair of samples and their rate, got {type(source).__name__}; an "
            "array alone does not state its rate: give (samples, rate)"
        )
    with opened(source, root) as (file, name):
        return _read(file, name, budget)


def resample(sound: Sound, rate: int) -> Sound:
    """Resample a sound to another rate, band-limited by soxr; at its own rate the sound is returned unchanged.

    Args:
        sound: any sound.
        rate: samples per second, in Hz.

    Returns:
        ``round(n * rate / sound.rate)`` samples, at least one.

    Raises:
        MediaError: the rates differ and soxr is not installed.
    """
    if sound.rate == rate:
        return sound
    try:
        import soxr
    except ImportError as error:
        raise MediaError(
            f"a sound of {sound.rate} Hz must be resampled to {rate} Hz, and soxr is not installed: pip install "
            f"'inlay[audio]', or give sounds of {rate} Hz"
        ) from error
    samples = np.asarray(soxr.resample(sound.samples, sound.rate, rate, quality="HQ"), dtype=np.float32)
    wanted = max(1, round(len(sound.samples) * rate / sound.rate))
    return Sound(np.pad(samples[:wanted], (0, max(0, wanted - len(samples)))), rate)


def _checked(samples: Any, rate: Any, name: str, budget: Budget) -> Sound:
    values = np.asarray(samples)
    if values.dtype.kind not in "fiu" or values.ndim not in (1, 2):
        raise MediaError(
            f"{name}: expected numbers [n] or [n, channels], got {values.dtype} of shape {list(values.shape)}"
        )
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer):
        raise MediaError(f"{name}: expected the rate as an integer in Hz, got {shown(str(rate))}")
    channels = 1 if values.ndim == 1 else values.shape[1]
    _check_header(len(values), int(rate), channels, name, budget)
    result = np.empty(len(values), dtype=np.float32)
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        if values.dtype.kind in "iu":
            info = np.iinfo(values.dtype)
            centre = (info.max + 1) / 2 if values.dtype.kind == "u" else 0
            block = (block.astype(np.float64) - centre) / (info.max + 1 - centre)
        result[start : start + _BLOCK] = _mono(block, name)
    return Sound(result, int(rate))


def _read(file: BinaryIO, name: str, budget: Budget) -> Sound:
    formats = _formats(file, name, budget)
    try:
        import soundfile
    except ImportError as error:
        raise MediaError(
            f"{name}: reading sounds needs soundfile, which is not installed: pip install 'inlay[audio]'"
        ) from error
    try:
        with soundfile.SoundFile(file) as reader:
            if reader.format not in formats:
                raise MediaError(f"{name}: starts as {formats[0]} and continues as {reader.format}")
            if reader.frames >= _UNKNOWN:
                raise MediaError(f"{name}: the header does not state how long the sound is; write the file again")
            _check_header(reader.frames, reader.samplerate, reader.channels, name, budget)
            samples, rate, promised = _samples(reader, name, budget), reader.samplerate, reader.frames
    except soundfile.SoundFileError as error:
        raise MediaError(f"{name}: the sound is damaged or cut off: {error}") from error
    if not len(samples):
        raise MediaError(f"{name}: the sound has no samples")
    if len(samples) < promised and formats[0] in ("WAV", "FLAC"):
        raise MediaError(f"{name}: the sound is cut off: the header states {promised} samples, got {len(samples)}")
    return Sound(samples, rate)


def _formats(file: BinaryIO, name: str, budget: Budget) -> tuple[str, ...]:
    """Names in libsndfile of the format of the first bytes."""
    size = budget.check_file(file, name)
    head = file.read(12)
    file.seek(0)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        promised = int.from_bytes(head[4:8], "little")
        # A streaming writer leaves 0 or all ones as length; an odd chunk may lack its last byte.
        if promised not in (0, 0xFFFFFFFF) and promised + 8 > size + 1:
            raise MediaError(
                f"{name}: the sound is cut off: the header states {promised + 8} bytes, the file has {size}"
            )
        return ("WAV", "WAVEX", "RF64")
    if head[:4] == b"fLaC":
        return ("FLAC",)
    if head[:4] == b"OggS":
        return ("OGG",)
    if head[:3] == b"ID3" or (head[0] == 0xFF and len(head) > 1 and head[1] & 0xE6 == 0xE2):
        return ("MP3",)
    raise MediaError(f"{name}: expected a WAV, FLAC, Ogg or MP3 file, got one that starts with {shown(head[:8])}")


def _check_header(frames: int, rate: int, channels: int, name: str, budget: Budget) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise MediaError(f"{name}: expected a rate from {RATES[0]} to {RATES[1]} Hz, got {rate}")
    if not 1 <= channels <= _MAX_CHANNELS:
        raise MediaError(f"{name}: expected 1 to {_MAX_CHANNELS} channels, got {channels}")
    if frames < 1:
        raise MediaError(f"{name}: the sound has no samples")
    if frames > _most(rate, budget):
        raise MediaError(
            f"{name}: {frames / rate:.1f} s at {rate} Hz are too long: at most {_most(rate, budget) / rate:.0f} s "
            f"({budget.seconds:.0f} s and {budget.memory / 1e6:,.0f} MB); cut the sound or lower its rate"
        )


def _most(rate: int, budget: Budget) -> int:
    """Largest number of samples that are decoded."""
    return int(min(budget.seconds * rate, budget.memory // _SAMPLE_BYTES))


def _samples(reader: Any, name: str, budget: Budget) -> NDArray[np.float32]:
    """Decode block by block and mix down, within the budget for any header."""
    most = min(reader.frames, _most(reader.samplerate, budget))
    samples = np.empty(most, dtype=np.float32)  # pages that are not written to take no memory
    done = 0
    while done < most:
        block = reader.read(min(_BLOCK, most - done), dtype="float32", always_2d=True)
        if not len(block):
            break
        samples[done : done + len(block)] = _mono(block, name)
        done += len(block)
    return samples[:done]


def _mono(block: NDArray[Any], name: str) -> NDArray[Any]:
    """``[n]`` or ``[n, channels]`` -> ``[n]``, within -1..1."""
    mixed = block if block.ndim == 1 else block.mean(axis=1)
    if not np.isfinite(mixed).all():
        raise MediaError(f"{name}: expected finite samples, got NaN or infinity")
    clipped: NDArray[Any] = np.clip(mixed, -1.0, 1.0)
    return clipped
