"""Which class reads an audio model that has none of its own; its features are tested in ``test_audio_families.py``."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_media_encoders import make_audio

from inlay.adapters.encoders import AnySoundEncoder, HubertEncoder
from inlay.adapters.loading.encoders.audio import load_audio_encoder

RELATIVES = ("wav2vec2", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio", "wav2vec2-conformer")
"""Families with HuBERT's convolutions over the samples."""


@pytest.mark.parametrize(
    ("family", "expected"),
    [*((family, HubertEncoder) for family in RELATIVES), ("ast", AnySoundEncoder), ("wav2vec2-bert", AnySoundEncoder)],
)
def test_a_family_is_read_by_its_class(saved: Any, family: str, expected: type) -> None:
    encoder = load_audio_encoder(saved(*make_audio(family)), feature_options={"seconds": 0.5})
    assert type(encoder) is expected
    assert encoder.family == ("audio-spectrogram-transformer" if family == "ast" else family)
