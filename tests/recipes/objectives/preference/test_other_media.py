"""Crops, empty media, media of other rows, and their features."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.video import Video
from inlay.recipes.objectives.preference.other_media import Changed, Crop, Mixed, OtherFeatures, OtherRows, blank


@pytest.fixture
def wide(tmp_path: Path) -> MediaPart:
    """Every pixel has a value of its own in x and y."""
    across, down = np.meshgrid(np.arange(200), np.arange(100))
    pixels = np.stack([across, down, np.zeros_like(across)], axis=-1).astype(np.uint8)
    path = tmp_path / "wide.png"
    Image.fromarray(pixels).save(path)
    return MediaPart("image", path)


def test_a_crop_is_a_small_part_at_the_size_of_the_picture(wide: MediaPart) -> None:
    for seed in range(20):
        picture = Crop(seed)(wide).source
        pixels = np.asarray(picture).astype(float)
        across, down = np.ptp(pixels[..., 0]), np.ptp(pixels[..., 1])
        assert picture.size == (200, 100)
        assert 0.5 * 0.01 <= (across + 1) * (down + 1) / (200 * 100) <= 1.2 * 0.2


def test_a_picture_has_one_crop_and_a_seed_another(wide: MediaPart) -> None:
    one, again, other = (Crop(seed)(wide).source.tobytes() for seed in (1, 1, 2))
    assert one == again != other


def test_an_empty_medium_keeps_size_and_length(wide: MediaPart) -> None:
    assert len(blank(wide).source.getcolors()) == 1
    sound = MediaPart("audio", Sound(np.ones(800, np.float32), 8000))
    silent = blank(sound).source
    assert (len(silent.samples), silent.rate, silent.samples.any()) == (800, 8000, False)
    clip = blank(MediaPart("video", Video((Image.new("RGB", (8, 6), "red"),) * 3, 2.0))).source
    assert (len(clip.frames), clip.frames[0].size, clip.fps) == (3, (8, 6), 2.0)


def test_a_part_of_a_sound_stays_and_the_rest_is_silent() -> None:
    sound = MediaPart("audio", Sound(np.ones(1000, np.float32), 8000))
    kept = Crop(0)(sound).source.samples
    assert len(kept) == 1000
    assert 10 <= kept.sum() <= 200


def test_the_other_row_has_another_medium(pairs: Any) -> None:
    other = OtherRows([*pairs, pairs[0]])
    for row in pairs:
        (part,) = (part for part in row.messages[0].content if isinstance(part, MediaPart))
        assert other(part).source != part.source
    last = pairs[-1].messages[0].content[0]
    assert other(last).source == pairs[0].messages[0].content[0].source


def test_with_one_medium_there_is_no_other(pairs: Any) -> None:
    part = pairs[0].messages[0].content[0]
    assert OtherRows(pairs[:1])(part) is part


def kind_of(part: MediaPart) -> str:
    """How a medium was changed."""
    if not isinstance(part.source, Changed):
        return "row"
    return "blank" if part.source.change is blank else "crop"


def test_a_mixture_has_a_third_of_each_kind_in_a_random_order(pairs: Any, tmp_path: Path) -> None:
    own = [MediaPart("image", tmp_path / f"many{number}.png") for number in range(30)]
    rows = [replace(pairs[0], messages=(replace(pairs[0].messages[0], content=(part,)),)) for part in own]
    kinds = [[kind_of(Mixed(rows, seed)(part)) for part in own] for seed in (1, 2)]
    assert [Counter(found) for found in kinds] == [{"row": 10, "blank": 10, "crop": 10}] * 2
    assert kinds[0] != kinds[1]


def test_a_mixture_is_the_same_in_every_epoch(pairs: Any) -> None:
    """So the reference's log-probabilities of it can be stored."""
    parts = [row.messages[0].content[0] for row in pairs]
    one, again = (Mixed(pairs, 3) for _ in range(2))
    assert [one(part) for part in parts] == [one(part) for part in parts] == [again(part) for part in parts]
    assert all(one(part) != part for part in parts)


def test_features_of_a_changed_medium_are_computed_once(
    model: Any, pairs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = model.backbone.encoder("image")
    calls: list[int] = []
    own = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda inputs: calls.append(len(inputs)) or own(inputs))
    part = pairs[0].messages[0].content[0]
    features = OtherFeatures(model, Layout(template="plain"), lambda _: torch.zeros(1))
    parts = [MediaPart("image", Changed(part, Crop(3))), MediaPart("image", Changed(part, blank))]
    features.prepare(parts)
    features.prepare([MediaPart("image", Changed(part, Crop(3)))])
    assert calls == [2]
    wanted = own(encoder.preprocess([Crop(3)(part).source], "crop"))[0]
    torch.testing.assert_close(features(parts[0]), wanted)
    assert features(part).tolist() == [0.0]
