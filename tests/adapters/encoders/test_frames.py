"""A clip as pictures: which moments, in which order, and the mean over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from inlay.adapters.compatibility.verdict import check
from inlay.adapters.encoders import EncoderError, FrameEncoder
from inlay.adapters.encoders.frames import moments
from inlay.adapters.loading.encoders.video import load_video_encoder
from inlay.adapters.media.video import Video, spans


@pytest.mark.parametrize("available", [1, 2, 5, 16, 33])
@pytest.mark.parametrize("wanted", [1, 3, 8])
def test_moments_are_in_the_middle_of_equal_spans(available: int, wanted: int) -> None:
    found = moments(available, wanted)
    assert found == [int((index + 0.5) * available / wanted) for index in range(wanted)]
    assert found == spans(range(available), available, wanted)


def test_features_are_those_of_the_pictures_in_the_order_of_time(clip_of: Any, video_of: Any) -> None:
    image, clips = clip_of(), [video_of(8), video_of(3, seed=1)]
    encoder = FrameEncoder(image, frames=4)
    found = encoder.encode(encoder.preprocess(clips, "squash"))
    assert found.shape == (2, encoder.tokens, encoder.width) == (2, 16, 24)
    for clip, features in zip(clips, found, strict=True):
        seen = [clip.frames[index] for index in moments(len(clip.frames), 4)]
        expected = image.encode(image.preprocess(seen, "squash")).flatten(0, 1)
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    assert encoder.encode(encoder.preprocess([], "squash")).shape == (0, 16, 24)


def test_mean_is_taken_token_by_token(clip_of: Any, video_of: Any) -> None:
    every, mean = (FrameEncoder(clip_of(), frames=4, pooling=pooling) for pooling in ("none", "mean"))
    inputs = every.preprocess([video_of()], "crop")
    found = mean.encode(inputs)
    assert found.shape == (1, mean.tokens, 24) == (1, 4, 24)
    torch.testing.assert_close(found, every.encode(inputs).unflatten(1, (4, 4)).mean(dim=1), atol=1e-6, rtol=1e-5)


def test_geometry_is_that_of_pictures(clip_of: Any) -> None:
    wide = Video((Image.new("RGB", (64, 16), (255, 0, 0)),), 1.0)
    encoder = FrameEncoder(clip_of(), frames=1)
    cropped, padded = (encoder.preprocess([wide], geometry) for geometry in ("crop", "pad"))
    assert not torch.equal(cropped, padded)


def test_port_tells_moments_and_pooling_apart(clip_of: Any) -> None:
    ports = [FrameEncoder(clip_of(), frames=4, pooling=pooling).port for pooling in ("none", "mean")]
    assert ports[0].settings["frames"] == 4
    assert ports[0].weights == clip_of().port.weights
    report = check({"video": ports[0]}, {"video": ports[1]})
    assert {row.field for row in report.rows} == {"tokens", "pooling"}


@pytest.mark.parametrize("bad", [{"frames": 0}, {"frames": True}, {"pooling": "max"}])
def test_settings_that_cannot_be_are_refused(clip_of: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(EncoderError, match=next(iter(bad))):
        FrameEncoder(clip_of(), **bad)


def test_any_image_encoder_is_read_from_its_folder(clip_of: Any, tmp_path: Path) -> None:
    clip_of().model.save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    encoder = load_video_encoder(
        tmp_path, feature_options={"frames": 2, "pooling": "mean", "layer": -1, "class_token": "keep"}
    )
    assert (encoder.tokens, encoder.port.settings["layer"], encoder.port.settings["frames"]) == (5, -1, 2)
