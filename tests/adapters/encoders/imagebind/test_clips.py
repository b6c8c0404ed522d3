"""What ImageBind hears and sees of a sound and of a video: where clips start, which frames, which squares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from inlay.adapters.compatibility.verdict import check
from inlay.adapters.encoders.audio.filter_bank import log_mel
from inlay.adapters.encoders.frames import FrameEncoder, moments
from inlay.adapters.encoders.imagebind import ImageBindEncoder
from inlay.adapters.encoders.imagebind.clips import (
    DEVIATION,
    MEAN,
    clip_starts,
    crops,
    frames_of_clips,
    spectrograms,
    squares_of_clips,
)
from inlay.adapters.encoders.imagebind.config import AudioConfig, VisionConfig
from inlay.adapters.encoders.protocol import load_for
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.video import Video


@pytest.mark.parametrize(
    ("seconds", "clips", "expected"),
    [(10.0, 3, [0.0, 4.0, 8.0]), (2.0, 3, [0.0, 0.0, 0.0]), (0.1, 5, [0.0] * 5), (5.0, 5, [0, 0.75, 1.5, 2.25, 3.0])],
)
def test_clips_start_at_equal_distances(seconds: float, clips: int, expected: list[float]) -> None:
    assert clip_starts(seconds, 2.0, clips) == expected


def test_sound_becomes_three_spectrograms_of_two_seconds(sound_of: Any) -> None:
    sound = sound_of(10.0)
    found = spectrograms(sound, AudioConfig())
    assert found.shape == (3, 1, 128, 204)
    for index, start in enumerate((0, 64_000, 128_000)):
        clip = torch.from_numpy(sound.samples[start : start + 32_000])
        mel = log_mel(clip - clip.mean(), 16_000, bands=128, window="hanning")
        assert len(mel) == 198
        torch.testing.assert_close(found[index, 0, :, :198], (mel.T + 4.268) / 9.138, atol=1e-5, rtol=1e-5)
        # What is filled up is zero before the values are normalised.
        torch.testing.assert_close(found[index, 0, :, 198:], torch.full((128, 6), 4.268 / 9.138))


def test_short_sound_is_heard_three_times(sound_of: Any) -> None:
    found = spectrograms(sound_of(1.0), AudioConfig())
    assert torch.equal(found[0], found[1])
    assert found[0, 0, 0, 98:].unique().numel() == 1


def test_rate_of_the_sound_does_not_matter_for_what_is_heard() -> None:
    def tone(rate: int) -> Sound:
        time = np.arange(4 * rate) / rate
        return Sound((0.3 * np.sin(2 * np.pi * 700 * time)).astype(np.float32), rate)

    config = AudioConfig()
    ours, theirs = (spectrograms(tone(rate), config)[1, 0, :, 20:180] for rate in (16_000, 44_100))
    loud = ours > ours.amax() - 0.5
    torch.testing.assert_close(ours[loud], theirs[loud], atol=0.02, rtol=0)


@pytest.mark.parametrize("samples", [1, 300, 16_000])
def test_silence_and_a_single_sample_are_finite(samples: int) -> None:
    assert bool(spectrograms(Sound(np.zeros(samples, dtype=np.float32), 16_000), AudioConfig()).isfinite().all())


def test_video_becomes_fifteen_squares_of_two_frames(video_of: Any) -> None:
    video = video_of(40, 4.0, (60, 40))
    found = squares_of_clips(video, VisionConfig(image_size=32, patch=8))
    assert found.shape == (15, 3, 2, 32, 32)
    mean, deviation = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(DEVIATION).view(3, 1, 1)
    # 10 s, so clips of 8 frames start at 0, 2, 4, 6 and 8 s; of each the first frame and the last are seen.
    for clip in range(5):
        for place, frame in enumerate((8 * clip, 8 * clip + 7)):
            pixels = torch.from_numpy(np.array(video.frames[frame])).permute(2, 0, 1)[None] / 255
            scaled = (F.interpolate(pixels, size=(32, 48), mode="bilinear")[0] - mean) / deviation
            for crop, left in enumerate((0, 8, 16)):
                expected = scaled[..., left : left + 32]
                torch.testing.assert_close(found[3 * clip + crop, :, place], expected, atol=1e-5, rtol=1e-5)


def test_squares_of_a_tall_clip_are_top_middle_and_bottom() -> None:
    clip = torch.arange(7.0 * 4).view(1, 7, 4)
    assert [square[0, 0, 0].item() / 4 for square in crops(clip, 4, 3)] == [0, 2, 3]
    assert [square[0, 0, 0].item() / 4 for square in crops(clip, 4, 1)] == [2]
    assert all(square.shape == (1, 4, 4) for square in crops(clip, 4, 3))


@pytest.mark.parametrize(("count", "fps"), [(1, 1.0), (1, 30.0), (3, 0.2), (500, 25.0)])
def test_any_clip_has_its_frames(count: int, fps: float) -> None:
    video = Video(tuple(Image.new("RGB", (9, 9), (index % 256, 0, 0)) for index in range(count)), fps)
    assert squares_of_clips(video, VisionConfig(image_size=16, patch=8)).shape == (15, 3, 2, 16, 16)


@pytest.mark.parametrize(
    ("seconds", "clips", "expected"),
    [(10.0, 5, [0.0, 1.6, 3.2, 4.8, 6.4]), (8.0, 3, [0.0, 2.0, 4.0]), (1.0, 3, [0.0] * 3), (6.5, 1, [0.0])],
)
def test_clips_of_nextgpts_sampler_start_earlier(seconds: float, clips: int, expected: list[float]) -> None:
    starts = clip_starts(seconds, 2.0, clips, reach_end=False)
    assert [float(start) for start in starts] == pytest.approx(expected)


def test_starts_are_exact_fractions_as_in_pytorchvideo() -> None:
    # 32,561 samples are a little less than 2.0350625 s as a float, so the last start falls short of sample 561.
    assert int(clip_starts(32_561 / 16_000, 2.0, 3)[2] * 16_000) == 560
    # Three fifths of the 4.2 s (a little more, as a float) that clips may start in are frame 63, not the one behind.
    assert frames_of_clips(155, 25.0, VisionConfig(), reach_end=False)[3][0] == 63


def test_nextgpt_hears_and_sees_its_own_clips(imagebind_of: Any, sound_of: Any, video_of: Any) -> None:
    model = imagebind_of()
    for modality, medium in {"audio": sound_of(10.0), "video": video_of(40, 4.0)}.items():
        ours, theirs = (ImageBindEncoder(model, modality, reach_end=end) for end in (True, False))
        first, second = (encoder.preprocess([medium], "crop") for encoder in (ours, theirs))
        assert torch.equal(first[:, 0], second[:, 0])
        assert not torch.equal(first[:, -1], second[:, -1])
        assert "reach_end" not in ours.port.settings
        assert theirs.port.settings["reach_end"] is False
        assert check({modality: ours.port}, {modality: theirs.port}).verdict == "incompatible"


def mp4_of_noise(path: Path, count: int, size: tuple[int, int]) -> Path:
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for _ in range(count):
            small = Image.fromarray(rng.integers(0, 256, (6, 10, 3), dtype=np.uint8)).resize(size)
            output.mux(stream.encode(av.VideoFrame.from_image(small)))
        output.mux(stream.encode())
    return path


def test_a_long_clip_of_596_x_336_is_scaled_once(imagebind_of: Any, tmp_path: Path) -> None:
    path = mp4_of_noise(tmp_path / "a.mp4", 300, (596, 336))
    encoder = ImageBindEncoder(imagebind_of(), "video")
    config = encoder.model.config.vision
    with av.open(str(path)) as container:
        decoded = [frame.to_image() for frame in container.decode(video=0)]
    expected = squares_of_clips(Video(tuple(decoded), 25.0), config)
    video: Any = load_for(encoder, "video", path)
    assert {frame.size for frame in video.frames} == {(596, 336)}
    torch.testing.assert_close(encoder.preprocess([video], "crop")[0], expected)


def test_frame_encoder_picks_moments_of_the_whole_clip(clip_of: Any, tmp_path: Path) -> None:
    path = mp4_of_noise(tmp_path / "a.mp4", 300, (64, 48))
    video: Any = load_for(FrameEncoder(clip_of(), frames=4), "video", path)
    assert video.kept == tuple(moments(300, 4)) == (37, 112, 187, 262)


def test_picture_is_cut_as_torchvision_does(imagebind_of: Any, image_of: Any) -> None:
    encoder = ImageBindEncoder(imagebind_of(), "image")
    size = encoder.model.config.vision.image_size
    image = image_of(0, (size + 3, size))
    expected = torch.from_numpy(np.array(image.crop((2, 0, size + 2, size)))).permute(2, 0, 1) / 255
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    torch.testing.assert_close(encoder.preprocess([image], "crop")[0], (expected - mean) / deviation)


def test_picture_is_normalised_as_clips_processor_does(imagebind_of: Any, image_of: Any) -> None:
    from transformers import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    encoder = ImageBindEncoder(imagebind_of(), "image")
    image = image_of(0, (70, 40))
    theirs = processor(images=image, return_tensors="pt").pixel_values
    torch.testing.assert_close(encoder.preprocess([image], "crop"), theirs, atol=1e-5, rtol=0)
