from __future__ import annotations

from random import Random

import numpy as np
import pytest

from inlay.recipes.miniature.media.sounds import HERTZ, RATE, SAMPLES, render_sound
from inlay.recipes.miniature.media.specs import PITCHES, TONES, Tone


def test_one_seed_gives_one_sound() -> None:
    assert np.array_equal(render_sound(TONES[0], Random(1)).samples, render_sound(TONES[0], Random(1)).samples)
    assert not np.array_equal(render_sound(TONES[0], Random(1)).samples, render_sound(TONES[0], Random(2)).samples)


def test_sounds_are_of_one_length_and_never_clipped() -> None:
    rng = Random(0)
    for tone in TONES:
        sound = render_sound(tone, rng)
        assert (sound.samples.shape, str(sound.samples.dtype), sound.rate) == ((SAMPLES,), "float32", RATE)
        assert 0.1 < np.abs(sound.samples).max() < 1


@pytest.mark.parametrize("pitch", PITCHES)
def test_a_pure_tone_has_the_frequency_of_its_pitch(pitch: str) -> None:
    power = np.abs(np.fft.rfft(render_sound(Tone("one long", pitch, "pure"), Random(0)).samples)) ** 2
    hertz = np.fft.rfftfreq(SAMPLES, 1 / RATE)
    assert hertz[power.argmax()] == pytest.approx(HERTZ[pitch], rel=0.045)
    assert power[hertz > 1.5 * HERTZ[pitch]].sum() < 0.02 * power.sum()


def test_brighter_timbres_have_more_energy_above_the_fundamental() -> None:
    shares = []
    for timbre in ("pure", "bright", "buzzing"):
        power = np.abs(np.fft.rfft(render_sound(Tone("one long", "low", timbre), Random(0)).samples)) ** 2
        shares.append(power[np.fft.rfftfreq(SAMPLES, 1 / RATE) > 900].sum() / power.sum())
    assert shares[0] < 0.02
    assert shares[0] <= shares[1] < 0.1 < shares[2]
