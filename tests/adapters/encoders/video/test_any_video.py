"""Video families, loaded from folders: features of transformers, frames by the model's own count, the class token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_media_encoders import VIDEO_ENCODERS, VIDEO_PROCESSOR, make_video_model

from inlay.adapters.compatibility.verdict import check
from inlay.adapters.encoders import AnyVideoEncoder, EncoderError, FrameEncoder
from inlay.adapters.encoders.frames import moments
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.encoders.video import load_video_encoder
from inlay.adapters.loading.pretrained import BackboneError
from inlay.adapters.media.video import Video


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(model: Any, file: str = "preprocessor_config.json", fields: Any = VIDEO_PROCESSOR) -> Path:
        model.save_pretrained(tmp_path)
        (tmp_path / file).write_text(json.dumps(fields))
        return tmp_path

    return save


def by_hand(model: Any, clip: Video, special: int) -> torch.Tensor:
    """``[tokens, width]``: transformers on frames of the right size, normalised in plain torch."""
    frames = [clip.frames[index] for index in moments(len(clip.frames), 4)]
    values = torch.stack([torch.from_numpy(np.asarray(frame).copy()) for frame in frames]).float() / 255
    mean, deviation = (torch.tensor(VIDEO_PROCESSOR[name]) for name in ("image_mean", "image_std"))
    pixels = ((values - mean) / deviation).permute(0, 3, 1, 2)[None]
    with torch.no_grad():
        found: torch.Tensor = model(**{model.main_input_name: pixels}).last_hidden_state[0, special:]
    return found


def test_the_page_of_the_docs_lists_every_family() -> None:
    page = (Path(__file__).parents[4] / "docs" / "results" / "families.md").read_text(encoding="utf-8")
    listed = page.partition("## Video encoders")[2]
    assert [name for name in VIDEO_ENCODERS if f"| {name} | {VIDEO_ENCODERS[name][0]} |" not in listed] == []


@pytest.mark.parametrize("family", VIDEO_ENCODERS)
def test_a_family_loads_and_gives_the_features_of_transformers(family: str, saved: Any, video_of: Any) -> None:
    model, (_, _, tokens, special) = make_video_model(family), VIDEO_ENCODERS[family]
    encoder = load_video_encoder(saved(model))
    assert isinstance(encoder, AnyVideoEncoder)
    assert (encoder.frames, encoder.tokens, encoder.special) == (4, tokens, special)
    assert encoder.class_token == ("drop" if special else "none")
    clips = [video_of(8, size=(32, 32)), video_of(5, size=(32, 32), seed=1), video_of(2, size=(32, 32), seed=2)]
    found = encoder.encode(encoder.preprocess(clips, "squash"))
    for clip, features in zip(clips, found, strict=True):
        torch.testing.assert_close(features, by_hand(model, clip, special), rtol=1e-4, atol=1e-5)
    assert encoder.encode(encoder.preprocess([], "squash")).shape == (0, tokens, encoder.width)


def test_only_the_frames_that_are_encoded_are_kept() -> None:
    encoder = AnyVideoEncoder(make_video_model("videomae"), VIDEO_PROCESSOR)
    assert encoder.picks(100, 25.0) == moments(100, 4)


def test_a_model_of_flexible_length_takes_other_frames() -> None:
    encoder = AnyVideoEncoder(make_video_model("vjepa2"), VIDEO_PROCESSOR, frames=8)
    assert encoder.tokens == 64


def test_keep_puts_the_class_token_in_front() -> None:
    model = make_video_model("vivit")
    encoder = AnyVideoEncoder(model, VIDEO_PROCESSOR, class_token="keep")
    pixels = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(encoder.encode(pixels), model(pixels).last_hidden_state)
    assert encoder.tokens == 33


def test_hidden_states_of_a_layer_are_features() -> None:
    model, pixels = make_video_model("videomae"), torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        wanted = model(pixels, output_hidden_states=True).hidden_states[1]
    assert torch.equal(AnyVideoEncoder(model, VIDEO_PROCESSOR, layer=1).encode(pixels), wanted)


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("videomae", {"frames": 3}, "frames: expected a positive multiple of 2"),
        ("videomae", {"class_token": "keep"}, "has no class token to keep"),
        ("vivit", {"class_token": "none"}, "has 1 special token"),
    ],
)
def test_options_that_the_model_cannot_follow_are_refused(family: str, options: Any, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        AnyVideoEncoder(make_video_model(family), VIDEO_PROCESSOR, **options)


def test_another_number_of_frames_is_another_port() -> None:
    ports = [AnyVideoEncoder(make_video_model("vjepa2"), VIDEO_PROCESSOR, frames=count).port for count in (4, 8)]
    assert {row.field for row in check({"video": ports[0]}, {"video": ports[1]}).rows} == {"tokens", "frames"}


def test_the_file_of_a_video_processor_is_read(saved: Any) -> None:
    source = saved(make_video_model("vjepa2"), "video_preprocessor_config.json")
    encoder: Any = load_video_encoder(source)
    assert encoder.pixels.mean == (0.5, 0.4, 0.3)


def test_a_model_without_a_processor_file_is_refused(tmp_path: Path) -> None:
    make_video_model("videomae").save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=r"expected video_preprocessor_config\.json or preprocessor_config\.json"):
        load_video_encoder(tmp_path)


def test_a_classifier_of_clips_is_read_without_its_head(saved: Any, video_of: Any) -> None:
    config = make_video_model("vivit").config
    config.num_labels = 3
    classifier = transformers.VivitForVideoClassification(config).eval()
    encoder = load_video_encoder(saved(classifier))
    clip = video_of(4, size=(32, 32))
    found = encoder.encode(encoder.preprocess([clip], "squash"))[0]
    torch.testing.assert_close(found, by_hand(classifier.vivit, clip, 1), rtol=1e-4, atol=1e-5)


def test_a_model_of_clips_is_no_image_encoder(saved: Any) -> None:
    with pytest.raises(BackboneError, match=r"'videomae' takes clips of 4 frames, not images; give it as the video"):
        load_image_encoder(saved(make_video_model("videomae")))


def test_an_image_model_still_encodes_frames(clip_of: Any, tmp_path: Path) -> None:
    clip_of().model.save_pretrained(tmp_path)
    transformers.CLIPImageProcessorPil().save_pretrained(tmp_path)
    assert isinstance(load_video_encoder(tmp_path), FrameEncoder)


def test_a_video_model_can_be_registered(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from inlay.adapters.encoders import ENCODERS, register_encoder

    class Ours(AnyVideoEncoder):
        """A class outside the library for a model of transformers."""

    register_encoder("videomae", Ours, modality="video", model_class=transformers.VideoMAEModel)
    monkeypatch.delitem(ENCODERS, ("video", "videomae"), raising=False)
    register_encoder("videomae", Ours, modality="video", model_class=transformers.VideoMAEModel)
    try:
        assert isinstance(load_video_encoder(saved(make_video_model("videomae"))), Ours)
    finally:
        ENCODERS.pop(("video", "videomae"), None)
