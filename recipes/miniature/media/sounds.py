"""Synthesises sounds: beeps with a few harmonics, with jitter of pitch, loudness, tempo and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inlay.adapters.media.audio import Sound

if TYPE_CHECKING:
    from random import Random

    from numpy.typing import NDArray

    from inlay.recipes.miniature.media.specs import Tone

RATE = 16000  # samples per second
SAMPLES = 24576  # 1.536 s: 96 frames of the generator's spectrogram
HERTZ = {"low": 250.0, "middle": 500.0, "high": 1125.0}
"""Multiples of the frame rate of the generator's spectrogram, 62.5 Hz: from equal frames, a convolutional vocoder can
generate no other frequencies."""
HARMONICS: dict[str, tuple[float, ...]] = {
    "pure": (1.0,),
    "bright": (1.0, 0.7, 0.5),
    "buzzing": tuple(float(number) ** -0.5 for number in range(1, 13)),
}
"""The amplitudes of the fundamental and its multiples."""
SPACING = {"slow": 0.5, "fast": 0.25}  # seconds from beep to beep
_LENGTH = {"slow": 0.22, "fast": 0.13, "long": 1.05}  # seconds of one beep
_HIGHEST = 7400.0  # Hz; higher harmonics are omitted
_RAMP = 0.012  # seconds of the fade at both ends of a beep
_COUNT = {"one": 1, "two": 2, "three": 3}


def render_sound(tone: Tone, rng: Random) -> Sound:
    """Synthesise a sound.

    Args:
        tone: The specification.
        rng: The source of the jitter.

    Returns:
        1.536 seconds at 16 kHz.

    Example:
        >>> from random import Random
        >>> from inlay.recipes.miniature.media.specs import Tone
        >>> render_sound(Tone("one long", "low", "pure"), Random(0)).seconds
        1.536
    """
    count, tempo = tone.rhythm.split()
    time = np.arange(SAMPLES) / RATE
    gate = _gate(time, _COUNT[count], tempo, rng)
    fundamental = HERTZ[tone.pitch] * rng.uniform(0.96, 1.04)
    wave = np.zeros(SAMPLES)
    for number, amplitude in enumerate(HARMONICS[tone.timbre], 1):
        if number * fundamental < _HIGHEST:
            wave += amplitude * np.sin(2 * np.pi * (number * fundamental * time + rng.random()))
    wave *= gate / np.sqrt(np.mean(wave**2))
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(SAMPLES)
    loudness = rng.uniform(0.12, 0.25)  # root mean square of a beep; peaks stay below 1
    samples = loudness * wave + rng.uniform(0.0002, 0.002) * noise
    return Sound(np.clip(samples, -1, 1).astype(np.float32), RATE)


def _gate(time: NDArray[np.float64], count: int, tempo: str, rng: Random) -> NDArray[np.float64]:
    """The envelope: the loudness at each time, 0 to 1."""
    start = rng.uniform(0.04, 0.16)
    spacing = SPACING.get(tempo, 0.0) * rng.uniform(0.94, 1.06)
    length = _LENGTH[tempo] * rng.uniform(0.92, 1.08)
    gate = np.zeros_like(time)
    for beep in range(count):
        since = time - start - beep * spacing
        gate = np.maximum(gate, np.clip(np.minimum(since, length - since) / _RAMP, 0, 1))
    return gate
