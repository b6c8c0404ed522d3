"""Sounds of every kind that data sets hold, and files made to do harm."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from inlay.adapters.media.audio import Sound, load_audio, resample
from inlay.adapters.media.budget import Budget
from inlay.adapters.media.image import MediaError
from inlay.adapters.media.load import load_medium

Save = Callable[..., Path]


def tone(seconds: float = 0.5, rate: int = 16_000, frequency: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def loudest(sound: Sound) -> float:
    """The loudest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(sound.samples * np.hanning(len(sound.samples))))
    return float(np.argmax(spectrum) * sound.rate / len(sound.samples))


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(samples: np.ndarray, name: str = "a.wav", rate: int = 16_000, **options: Any) -> Path:
        soundfile.write(tmp_path / name, samples, rate, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_the_four_formats_are_read(save: Save, name: str, rate: int) -> None:
    sound = load_audio(save(tone(1.0, rate), name, rate))
    assert sound.rate == rate
    assert sound.samples.dtype == np.float32
    assert sound.seconds == pytest.approx(1.0, abs=0.06)
    assert loudest(sound) == pytest.approx(440, abs=3)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_any_width_of_samples_is_read(save: Save, subtype: str) -> None:
    sound = load_audio(save(tone(), subtype=subtype))
    np.testing.assert_allclose(sound.samples, tone(), atol=0.01)


def test_opus_is_read(save: Save) -> None:
    sound = load_audio(save(tone(1.0, 48_000), "a.opus", 48_000, format="OGG", subtype="OPUS"))
    assert loudest(sound) == pytest.approx(440, abs=3)


def test_the_format_is_chosen_by_content_not_by_name(save: Save) -> None:
    path = save(tone(), "a.flac")
    assert len(load_audio(path.rename(path.with_suffix(".mp3"))).samples) == 8000


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_become_one_by_their_mean(save: Save, channels: int) -> None:
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (200_000, channels))
    sound = load_audio(save(samples, subtype="FLOAT"))
    np.testing.assert_allclose(sound.samples, samples.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [1_000, 11_025, 22_050, 37_421, 96_000, 192_000])
def test_odd_rates_are_kept_and_resampled(save: Save, rate: int) -> None:
    sound = load_audio(save(tone(1.0, rate, 300.0), rate=rate))
    assert sound.rate == rate
    again = resample(sound, 16_000)
    assert (len(again.samples), again.rate) == (16_000, 16_000)
    assert loudest(again) == pytest.approx(300, abs=2)


def test_resampling_leaves_out_what_the_new_rate_cannot_hold() -> None:
    high = Sound(tone(1.0, 48_000, 12_000.0), 48_000)
    assert float(np.abs(resample(high, 16_000).samples[200:-200]).max()) < 1e-3
    assert resample(high, 48_000) is high
    assert len(resample(Sound(np.ones(1, dtype=np.float32), 48_000), 16_000).samples) == 1


def test_silence_is_a_sound(save: Save) -> None:
    sound = load_audio(save(np.zeros(100)))
    assert (len(sound.samples), float(np.abs(sound.samples).max())) == (100, 0.0)


def test_values_that_are_too_loud_are_clipped(save: Save) -> None:
    assert load_audio(save(np.array([3.0, -2.0, 0.5]), subtype="FLOAT")).samples.tolist() == [1.0, -1.0, 0.5]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(save: Save, value: float) -> None:
    with pytest.raises(MediaError, match="expected finite samples"):
        load_audio(save(np.array([0.0, value]), subtype="FLOAT"))
    with pytest.raises(MediaError, match="expected finite samples"):
        load_audio((np.array([0.0, value]), 16_000))


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_sound_without_samples_is_refused(save: Save, name: str) -> None:
    with pytest.raises(MediaError, match=r"no samples|is empty"):
        load_audio(save(np.zeros(0), name))


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9])
def test_a_truncated_file_is_an_error_that_names_it(save: Save, name: str, kept: float) -> None:
    path = save(np.random.default_rng(0).uniform(-1, 1, 30_000), name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(MediaError, match=name):
        load_audio(path)


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9])
def test_a_truncated_stream_is_read_as_far_as_it_goes_or_is_an_error(save: Save, name: str, kept: float) -> None:
    path = save(np.random.default_rng(0).uniform(-1, 1, 160_000), name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    if kept >= 0.3:
        assert 0 < len(load_audio(path).samples) < 160_000
    else:
        with pytest.raises(MediaError, match=name):
            load_audio(path)


@pytest.mark.parametrize("promised", [0, 0xFFFFFFFF])
def test_a_wav_that_was_written_to_a_pipe_is_read(save: Save, promised: int) -> None:
    path = save(tone())
    data = bytearray(path.read_bytes())
    data[4:8] = struct.pack("<I", promised)
    path.write_bytes(data)
    assert len(load_audio(path).samples) == 8000


@pytest.mark.parametrize("name", ["AIFF", "AU", "CAF", "VOC", "W64"])
def test_other_formats_named_wav_are_refused(save: Save, name: str) -> None:
    with pytest.raises(MediaError, match="expected a WAV, FLAC, Ogg or MP3 file"):
        load_audio(save(tone(), "a.wav", format=name))


@pytest.mark.parametrize("data", [b"#!/bin/sh\n", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"\x80\x04\x95", b"\xff"])
def test_other_files_named_wav_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(MediaError, match=r"a\.wav: expected a WAV, FLAC, Ogg or MP3 file"):
        load_audio(tmp_path / "a.wav")


def test_a_name_tag_in_front_of_another_format_is_refused(save: Save) -> None:
    path = save(tone(), "a.au", format="AU")
    path.write_bytes(b"ID3\x03\0\0\0\0\0\x0a" + b"\0" * 10 + path.read_bytes())
    with pytest.raises(MediaError, match=r"a\.au"):
        load_audio(path)


def test_a_long_sound_is_refused_by_its_header(save: Save) -> None:
    path = save(tone(3.0))
    assert load_audio(path, budget=Budget(seconds=3.0)).seconds == 3.0
    with pytest.raises(MediaError, match=r"3\.0 s at 16000 Hz are too long: at most 2 s"):
        load_audio(path, budget=Budget(seconds=2.0))
    with pytest.raises(MediaError, match="too long"):
        load_audio((np.zeros(50), 1_000), budget=Budget(seconds=0.01))


def test_a_header_that_promises_hours_is_refused_before_they_are_decoded(tmp_path: Path) -> None:
    # STREAMINFO of a FLAC with 2^36 - 1 samples, and nothing behind it.
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + ((16_000 << 44) | (15 << 36) | (1 << 36) - 1).to_bytes(8, "big")
    (tmp_path / "bomb.flac").write_bytes(b"fLaC\x80\0\0\x22" + info + bytes(16))
    with pytest.raises(MediaError, match=r"bomb\.flac: 4294967\.3 s at 16000 Hz are too long|damaged"):
        load_audio(tmp_path / "bomb.flac")


@pytest.mark.parametrize(
    ("rate", "said"), [(10, "1000 to 384000 Hz, got 10"), (10**6, "got 1000000"), (16e3, "integer in Hz")]
)
def test_rates_that_cannot_be_are_refused(rate: Any, said: str) -> None:
    with pytest.raises(MediaError, match=said):
        load_audio((np.zeros(5), rate))


def test_a_flac_that_does_not_say_its_length_is_refused(save: Save) -> None:
    path = save(tone(), "a.flac")
    data = bytearray(path.read_bytes())
    data[18:26] = (int.from_bytes(data[18:26], "big") & ~((1 << 36) - 1)).to_bytes(8, "big")
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"a\.flac: the header does not state how long"):
        load_audio(path)


def test_samples_in_memory_are_read_as_files_are() -> None:
    sound = Sound(tone(), 16_000)
    assert np.array_equal(load_audio(sound).samples, sound.samples)
    assert load_audio((np.array([-32768, 16384], dtype=np.int16), 8_000)).samples.tolist() == [-1.0, 0.5]
    assert load_audio((np.array([0, 128, 255], dtype=np.uint8), 8_000)).samples.tolist() == [-1.0, 0.0, 127 / 128]
    assert load_audio((np.array([[1.0, 0.0]]), 8_000)).samples.tolist() == [0.5]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (np.zeros(5), r"got ndarray; an array alone does not state its rate: give \(samples, rate\)"),
        (b"RIFF", "the medium in memory: expected a WAV"),
        (3, "got int"),
        ((np.zeros((2, 2, 2)), 16_000), r"of shape \[2, 2, 2\]"),
        ((["a"], 16_000), "expected numbers"),
        (Sound(np.zeros(0, dtype=np.float32), 16_000), "has no samples"),
    ],
)
def test_something_that_is_no_sound_is_refused(source: Any, said: str) -> None:
    with pytest.raises(MediaError, match=said):
        load_audio(source)


def test_urls_pipes_folders_and_paths_that_leave_the_root_are_refused(save: Save, tmp_path: Path) -> None:
    root = tmp_path / "sounds"
    root.mkdir()
    secret = save(tone(), "secret.wav")
    (root / "link.wav").symlink_to(secret)
    os.mkfifo(root / "pipe.wav")
    for source, said in [
        ("https://host/a.wav", "nothing is fetched from a network"),
        ("file:///etc/passwd", "nothing is fetched from a network"),
        ("../secret.wav", "lies outside of the folder"),
        ("link.wav", "lies outside of the folder"),
        (secret, "lies outside of the folder"),
        ("pipe.wav", "expected a file"),
        (".", "expected a file"),
        ("gone.wav", r"gone\.wav: no such file"),
        ("a\0.wav", "expected a path"),
    ]:
        with pytest.raises(MediaError, match=said):
            load_audio(source, root=root)


def test_what_is_missing_is_named(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tone())
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(MediaError, match=r"pip install 'inlay\[audio\]'"):
        load_audio(path)
    with pytest.raises(MediaError, match=r"pip install 'inlay\[audio\]'"):
        resample(Sound(tone(), 16_000), 8_000)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_damaged_bytes_give_a_sound_or_the_one_error(save: Save, name: str, seed: int) -> None:
    path = save(tone(0.3), name)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(4, len(data), 8):
        data[place] = rng.integers(0, 256)
    path.write_bytes(data)
    with contextlib.suppress(MediaError):
        sound = load_audio(path)
        assert np.isfinite(sound.samples).all()
        assert float(np.abs(sound.samples).max()) <= 1.0


def test_a_part_of_a_message_is_loaded_by_its_modality(save: Save) -> None:
    loaded = load_medium("audio", save(tone()))
    assert isinstance(loaded, Sound)
    with pytest.raises(MediaError, match="expected an MP4, WebM or GIF file"):
        load_medium("video", save(tone()))
