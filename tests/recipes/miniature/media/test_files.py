from __future__ import annotations

import wave
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from inlay.adapters.media.audio import load_audio
from inlay.adapters.media.video import load_video
from inlay.recipes.miniature.judges.signal_analysis import read_clip
from inlay.recipes.miniature.media.clips import draw_shape, render_clip
from inlay.recipes.miniature.media.files import write_medium
from inlay.recipes.miniature.media.sounds import render_sound
from inlay.recipes.miniature.media.specs import DRAWINGS, MOVEMENTS, TONES


def test_a_picture_comes_back_as_it_was(tmp_path: Path) -> None:
    picture = draw_shape(DRAWINGS[0], Random(0))
    with Image.open(tmp_path / write_medium(picture, tmp_path, "one")) as read:
        assert read.format == "PNG"
        assert read.tobytes() == picture.tobytes()


def test_a_sound_is_a_wave_of_16_bits(tmp_path: Path) -> None:
    sound = render_sound(TONES[0], Random(0))
    file = tmp_path / write_medium(sound, tmp_path, "one")
    with wave.open(str(file)) as read:
        assert (read.getnchannels(), read.getsampwidth(), read.getframerate()) == (1, 2, 16000)
        samples = np.frombuffer(read.readframes(read.getnframes()), "<i2") / 32767
    assert np.abs(samples - sound.samples).max() <= 0.5 / 32767 + 1e-6


def test_a_sound_is_read_by_the_loader(tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    sound = render_sound(TONES[0], Random(0))
    read = load_audio(tmp_path / write_medium(sound, tmp_path, "one"))
    assert read.rate == sound.rate
    assert np.abs(read.samples - sound.samples).max() < 1e-4


def test_a_clip_is_read_by_the_loader(tmp_path: Path) -> None:
    pytest.importorskip("av")
    clip = render_clip(MOVEMENTS[0], Random(0))
    read = load_video(tmp_path / write_medium(clip, tmp_path, "one"))
    assert len(read.frames) == len(clip.frames)
    assert read.fps == pytest.approx(clip.fps)
    for one, two in zip(clip.frames, read.frames, strict=True):
        assert np.abs(np.asarray(one, dtype=int) - np.asarray(two)).mean() < 2
    assert read_clip(read) == read_clip(clip)


def test_same_media_same_bytes(tmp_path: Path) -> None:
    for value in (
        draw_shape(DRAWINGS[0], Random(0)),
        render_sound(TONES[0], Random(0)),
        render_clip(MOVEMENTS[0], Random(0)),
    ):
        one, two = (tmp_path / write_medium(value, tmp_path, name) for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
