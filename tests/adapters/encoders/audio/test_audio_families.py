"""Audio families, loaded from folders: the features of transformers, alone and in batches of other lengths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_media_encoders import AUDIO_ENCODERS, make_audio
from torch.nn import functional as F

from inlay.adapters.loading.encoders.audio import load_audio_encoder
from inlay.adapters.media.audio import Sound

FIXED = ("ast", "clap", "whisper")
"""Families whose extractor fills every sound up to one size."""


@pytest.fixture
def family_of(saved: Any) -> Callable[[str], tuple[Any, Any, Any]]:
    def make(name: str) -> tuple[Any, Any, Any]:
        model, extractor = make_audio(name)
        options = {} if name in ("clap", "whisper") else {"seconds": 0.5}
        return model, extractor, load_audio_encoder(saved(model, extractor), feature_options=options)

    return make


def by_hand(name: str, model: Any, extractor: Any, sound: Sound) -> torch.Tensor:
    """The features ``[tokens, width]`` of one sound in transformers."""
    inputs = extractor(sound.samples, sampling_rate=sound.rate, return_tensors="pt")
    with torch.no_grad():
        if name == "clap":
            vector = model.get_audio_features(input_features=inputs.input_features, is_longer=inputs.is_longer)
            vector = vector if isinstance(vector, torch.Tensor) else vector.pooler_output
            return F.normalize(vector, dim=-1)
        encoder = model.get_encoder() if model.config.is_encoder_decoder else model
        special = AUDIO_ENCODERS[name][4]
        found: torch.Tensor = encoder(**inputs).last_hidden_state[0, special:]
        return found


def test_the_page_of_the_docs_lists_every_family() -> None:
    page = (Path(__file__).parents[4] / "docs" / "results" / "families.md").read_text(encoding="utf-8")
    listed = page.partition("## Audio encoders")[2].partition("\n## ")[0]
    assert [name for name in AUDIO_ENCODERS if f"| {name} | {AUDIO_ENCODERS[name][0]} |" not in listed] == []


@pytest.mark.parametrize("name", AUDIO_ENCODERS)
def test_a_family_gives_the_features_of_transformers(name: str, family_of: Any, sound_of: Any) -> None:
    model, extractor, encoder = family_of(name)
    sound = sound_of(0.5)
    found = encoder.encode(encoder.preprocess([sound], "squash"))
    assert found.shape == (1, AUDIO_ENCODERS[name][3], encoder.width)
    assert getattr(encoder, "special", 0) == AUDIO_ENCODERS[name][4]
    torch.testing.assert_close(found[0], by_hand(name, model, extractor, sound), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", AUDIO_ENCODERS)
def test_a_shorter_sound_has_the_features_of_transformers_in_every_batch(
    name: str, family_of: Any, sound_of: Any
) -> None:
    model, extractor, encoder = family_of(name)
    sounds = [sound_of(0.5), sound_of(0.2, seed=1), sound_of(0.33, seed=2), sound_of(0.2, seed=3)]
    batch = encoder.encode(encoder.preprocess(sounds, "squash"))
    for sound, features in zip(sounds, batch, strict=True):
        alone = encoder.encode(encoder.preprocess([sound], "squash"))[0]
        torch.testing.assert_close(features, alone, rtol=1e-4, atol=1e-5)
        wanted = by_hand(name, model, extractor, sound)
        if name != "clap":  # its extractor repeats a sound in another way, see its class
            torch.testing.assert_close(features[: len(wanted)], wanted, rtol=1e-4, atol=1e-5)
        assert not features[len(wanted) :].any()
        assert (len(wanted) == encoder.tokens) == (name in FIXED or sound is sounds[0])


@pytest.mark.parametrize("name", AUDIO_ENCODERS)
def test_very_short_and_very_long_sounds_are_encoded(name: str, family_of: Any, sound_of: Any) -> None:
    _, _, encoder = family_of(name)
    long, short = sound_of(3.0), Sound(sound_of(0.5).samples[:400], 16_000)
    found = encoder.encode(encoder.preprocess([long, short], "squash"))
    assert found.isfinite().all()
    silence = Sound(torch.zeros(8000).numpy(), 16_000)
    assert encoder.encode(encoder.preprocess([silence], "squash")).isfinite().all()
    assert found.shape == (2, encoder.tokens, encoder.width)
    assert encoder.encode(encoder.preprocess([], "squash")).shape == (0, encoder.tokens, encoder.width)
