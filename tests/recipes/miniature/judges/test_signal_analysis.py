from __future__ import annotations

from random import Random

import numpy as np
import pytest
from PIL import Image, ImageFilter

from inlay.adapters.media.audio import Sound
from inlay.adapters.media.video import Video
from inlay.recipes.miniature.judges.generated_media import accuracies, score_attributes
from inlay.recipes.miniature.judges.signal_analysis import read_clip, read_picture, read_sound
from inlay.recipes.miniature.media.clips import draw_shape, render_clip
from inlay.recipes.miniature.media.sounds import render_sound
from inlay.recipes.miniature.media.specs import DRAWINGS, MOVEMENTS, TONES, Drawing


def test_drawings_are_read_right() -> None:
    rng = Random(1)
    figures = accuracies(DRAWINGS * 8, [draw_shape(drawing, rng) for drawing in DRAWINGS * 8])
    assert min(figures.values()) >= 0.99


def test_blurred_and_noisy_drawings_are_read_right() -> None:
    rng, noise = Random(2), np.random.default_rng(2)
    made = []
    for drawing in DRAWINGS * 2:
        blurred = draw_shape(drawing, rng).filter(ImageFilter.GaussianBlur(0.6))
        pixels = np.asarray(blurred, dtype=float) + noise.normal(0, 5, (32, 32, 3))
        made.append(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
    figures = accuracies(DRAWINGS * 2, made)
    assert min(figures["shape"], figures["colour"]) >= 0.97


@pytest.mark.parametrize("side", [24, 48, 64])
def test_drawings_of_other_sizes_are_read_right(side: int) -> None:
    rng = Random(3)
    assert accuracies(DRAWINGS, [draw_shape(drawing, rng, side) for drawing in DRAWINGS])["right"] >= 0.98


def test_clips_are_read_right() -> None:
    rng = Random(4)
    figures = accuracies(MOVEMENTS, [render_clip(movement, rng) for movement in MOVEMENTS])
    assert min(figures.values()) >= 0.99


def test_sounds_are_read_right() -> None:
    rng = Random(5)
    figures = accuracies(TONES * 6, [render_sound(tone, rng) for tone in TONES * 6])
    assert min(figures.values()) >= 0.99


@pytest.mark.parametrize("loudness", [0.2, 1.8])
def test_soft_and_loud_sounds_are_read_right(loudness: float) -> None:
    rng = Random(6)
    played = [render_sound(tone, rng) for tone in TONES]
    assert accuracies(TONES, [Sound(loudness * one.samples, one.rate) for one in played])["right"] >= 0.97


def test_other_rates_are_read_right() -> None:
    rng = Random(7)
    low = [tone for tone in TONES if tone.timbre == "pure"]
    played = [render_sound(tone, rng) for tone in low]
    assert accuracies(low, [Sound(one.samples[::2], one.rate // 2) for one in played])["right"] >= 0.98


def test_nothing_is_read_out_of_nothing() -> None:
    grey = Image.new("RGB", (32, 32), (230, 230, 230))
    assert read_picture(grey) is None
    assert read_clip(Video((grey,) * 6, 5.0)) is None
    assert read_sound(Sound(np.zeros(24576, dtype=np.float32), 16000)) is None
    assert read_sound(Sound(np.zeros(10, dtype=np.float32), 16000)) is None
    value = Drawing("small", "red", "circle")
    assert score_attributes(value, grey) == {"shape": False, "colour": False, "size": False, "right": False}


def test_what_stands_still_has_no_direction() -> None:
    frame = draw_shape(Drawing("small", "red", "circle"), Random(0))
    read = read_clip(Video((frame,) * 6, 5.0))
    assert read is not None
    assert (read.colour, read.shape, read.direction) == ("red", "circle", None)


def test_a_single_short_beep_and_four_beeps_have_no_rhythm() -> None:
    samples = np.zeros(24576, dtype=np.float32)
    beep = 0.3 * np.sin(2 * np.pi * 500 * np.arange(2000) / 16000).astype(np.float32)
    for start in (1000, 7000, 13000, 19000):
        samples[start : start + 2000] = beep
    read = read_sound(Sound(samples, 16000))
    assert read is not None
    assert (read.rhythm, read.pitch, read.timbre) == (None, "middle", "pure")
    samples[3500:] = 0
    read = read_sound(Sound(samples, 16000))
    assert read is not None
    assert read.rhythm is None
