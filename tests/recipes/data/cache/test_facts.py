"""Which facts make another space, and that digests follow the weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from tiny_media_encoders import VIDEO_PROCESSOR, make_audio, make_video_model
from torch import nn

from inlay.adapters.compatibility.digest import exact_digest, weights_digest
from inlay.adapters.encoders import AnySoundEncoder, AnyVideoEncoder, precomputed
from inlay.recipes.data.cache import facts
from inlay.recipes.data.cache.facts import encoder_facts


def test_two_encoders_that_are_alike_share_a_space_whatever_their_source(clip_of: Any) -> None:
    one, two = clip_of(), clip_of()
    two.source = "another/name"
    assert encoder_facts(one, "image", "pad") == encoder_facts(two, "image", "pad")


def _mean(encoder: Any) -> None:
    encoder.mean = [0.1, 0.2, 0.3]


def _heads(encoder: Any) -> None:
    encoder.model.config.num_attention_heads = 2


def _weight(encoder: Any) -> None:
    with torch.no_grad():
        list(encoder.parameters())[3].view(-1)[1] += 1e-6


def _dtype(encoder: Any) -> None:
    encoder.bfloat16()


@pytest.mark.parametrize("change", [_mean, _heads, _weight, _dtype])
def test_preprocessing_config_weights_and_dtype_are_told_apart(clip_of: Any, change: Any) -> None:
    one, two = clip_of(), clip_of()
    assert encoder_facts(one, "image", "pad") == encoder_facts(two, "image", "pad")
    change(two)
    assert encoder_facts(one, "image", "pad") != encoder_facts(two, "image", "pad")


def test_geometry_layer_size_and_class_token_are_told_apart(clip_of: Any, space_at: Any) -> None:
    store = space_at().store
    encoders = [clip_of(), clip_of(layer=-1), clip_of(class_token="keep"), clip_of(image_size=24)]
    found = [store.space(encoder_facts(encoder, "image", "pad")).digest for encoder in encoders]
    found += [store.space(encoder_facts(clip_of(), "image", geometry)).digest for geometry in ("crop", "squash")]
    assert len(set(found)) == len(found)


def test_another_library_version_is_another_space(clip_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = encoder_facts(clip_of(), "image", "pad")
    monkeypatch.setattr(facts, "version", lambda name: "99.0")
    assert encoder_facts(clip_of(), "image", "pad") != before


def test_the_exact_digest_sees_a_change_that_the_sampled_one_does_not() -> None:
    torch.manual_seed(0)
    one, two = nn.Linear(100, 100), nn.Linear(100, 100)
    two.load_state_dict(one.state_dict())
    with torch.no_grad():
        two.weight[50, 33] += 1e-7
    assert weights_digest(one) == weights_digest(two)
    assert exact_digest(one) != exact_digest(two)


def test_buffers_belong_to_the_exact_digest() -> None:
    one, two = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    assert exact_digest(one) == exact_digest(two)
    two.get_buffer("running_mean").add_(1)
    assert exact_digest(one) != exact_digest(two)


def test_configs_that_are_dataclasses_count() -> None:
    @dataclasses.dataclass
    class Config:
        heads: int

    one, two = nn.Identity(), nn.Identity()
    one.config, two.config = Config(2), Config(4)
    assert facts.configs_of(one) != facts.configs_of(two)


def audio_encoder() -> Any:
    return AnySoundEncoder(*make_audio("wav2vec2-bert"), seconds=0.5)


def video_encoder() -> Any:
    return AnyVideoEncoder(make_video_model("videomae"), VIDEO_PROCESSOR)


@pytest.mark.parametrize(
    ("modality", "make"),
    [("audio", audio_encoder), ("video", video_encoder), ("features", lambda: precomputed(8, 4, source="eeg"))],
)
def test_encoders_of_any_model_have_the_same_facts_when_they_are_built_again(modality: Any, make: Any) -> None:
    assert encoder_facts(make(), modality, "squash") == encoder_facts(make(), modality, "squash")


def test_sizes_of_features_are_told_apart() -> None:
    encoders = [precomputed(8, 4), precomputed(8, 5), precomputed(9, 4), precomputed(8, 4, variable=True)]
    found = [encoder_facts(encoder, "features", "squash") for encoder in encoders]
    assert all(one != two for index, one in enumerate(found) for two in found[:index])
