"""Whisper, HuBERT and CLAP as ports: features are those of transformers, in fp32 to 1e-5, whatever is beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inlay.adapters.encoders import ClapEncoder, EncoderError, HubertEncoder, WhisperAudioEncoder
from inlay.adapters.encoders.audio.audio_encoder import window
from inlay.adapters.loading.encoders.audio import load_audio_encoder
from inlay.adapters.loading.pretrained import BackboneError
from inlay.adapters.media.audio import Sound

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@torch.no_grad()
def test_whisper_hears_what_transformers_hears(whisper_of: Any, sound_of: Any) -> None:
    model, extractor = whisper_of()
    encoder = WhisperAudioEncoder(model, extractor)
    sounds = [sound_of(0.7, seed=1), sound_of(2.0, seed=2)]
    theirs = extractor([sound.samples for sound in sounds], sampling_rate=16_000, return_tensors="pt").input_features
    expected = model.get_encoder()(theirs).last_hidden_state
    found = encoder.encode(encoder.preprocess(sounds, "crop"))
    torch.testing.assert_close(found, expected, **CLOSE)
    assert found.shape == (2, encoder.tokens, encoder.width) == (2, 100, 16)


@torch.no_grad()
def test_whisper_layer_is_the_one_asked_for(whisper_of: Any, sound_of: Any) -> None:
    model, extractor = whisper_of()
    inputs = WhisperAudioEncoder(model, extractor).preprocess([sound_of()], "crop")
    states = model.get_encoder()(inputs, output_hidden_states=True).hidden_states
    for layer in (0, -2):
        assert torch.equal(WhisperAudioEncoder(model, extractor, layer=layer).encode(inputs), states[layer])


def test_whisper_with_the_extractor_of_another_size_is_refused(whisper_of: Any) -> None:
    from transformers import WhisperFeatureExtractor

    with pytest.raises(EncoderError, match="gives 16 bands and 3000 frames, the model takes 16 and 200"):
        WhisperAudioEncoder(whisper_of()[0], WhisperFeatureExtractor(feature_size=16))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["group", "layer"])
def test_hubert_hears_what_transformers_hears(hubert_of: Any, sound_of: Any, kind: str) -> None:
    model, extractor = hubert_of(feat_extract_norm=kind, do_stable_layer_norm=kind == "layer")
    encoder = HubertEncoder(model, extractor, seconds=1.0)
    sounds = [sound_of(1.0, seed=1), sound_of(0.3, seed=2), sound_of(1.0, seed=3)]
    found = encoder.encode(encoder.preprocess(sounds, "crop"))
    for sound, features in zip(sounds, found, strict=True):
        values = extractor(sound.samples, sampling_rate=16_000, return_tensors="pt").input_values
        expected = model(values).last_hidden_state[0]
        torch.testing.assert_close(features[: len(expected)], expected, **CLOSE)
        assert not features[len(expected) :].any()


def test_hubert_counts_its_features_in_closed_form(hubert_of: Any) -> None:
    model, extractor = hubert_of()
    for seconds in (0.1, 0.33, 1.0):
        encoder = HubertEncoder(model, extractor, seconds=seconds)
        theirs = model._get_feat_extract_output_lengths(torch.tensor(encoder.samples))
        assert encoder.tokens == int(theirs)


def test_published_hubert_gives_fifty_features_a_second(hubert_of: Any) -> None:
    from transformers import HubertConfig, HubertModel

    with torch.device("meta"):
        model = HubertModel(HubertConfig(num_hidden_layers=1))
    encoder = HubertEncoder(model, hubert_of()[1], seconds=10.0)
    assert (encoder.tokens, encoder.width, encoder.field) == (499, 768, 400)
    assert encoder.port.weights == "sha256:" + "0" * 64


@torch.no_grad()
@pytest.mark.parametrize("fusion", [False, True])
def test_clap_hears_what_transformers_hears(clap_of: Any, sound_of: Any, fusion: bool) -> None:
    model, extractor = clap_of(fusion=fusion)
    sounds = [sound_of(0.4, seed=1), sound_of(1.0, seed=2)]
    truncation = "fusion" if fusion else "rand_trunc"
    theirs = extractor(
        [sound.samples for sound in sounds], sampling_rate=16_000, truncation=truncation, return_tensors="pt"
    )
    longer = torch.zeros(2, 1, dtype=torch.bool)
    inner = model.audio_model(theirs.input_features, is_longer=longer)
    vectors = torch.nn.functional.normalize(model.audio_projection(inner.pooler_output), dim=-1)
    pooled, grid = (ClapEncoder(_with_projection(model), extractor, features=kind) for kind in ("pooled", "grid"))
    torch.testing.assert_close(pooled.encode(pooled.preprocess(sounds, "crop"))[:, 0], vectors, **CLOSE)
    found = grid.encode(grid.preprocess(sounds, "crop"))
    torch.testing.assert_close(found, inner.last_hidden_state.flatten(2).transpose(1, 2), **CLOSE)
    assert found.shape[1:] == (grid.tokens, grid.width)


def _with_projection(model: Any) -> Any:
    from transformers import ClapAudioModelWithProjection

    tower = ClapAudioModelWithProjection(model.config.audio_config)
    tower.audio_model, tower.audio_projection = model.audio_model, model.audio_projection
    return tower.eval()


def test_published_clap_has_sixty_four_features() -> None:
    from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

    with torch.device("meta"):
        model = ClapAudioModelWithProjection(ClapAudioConfig())
    grid = ClapEncoder(model, ClapFeatureExtractor(), features="grid")
    assert (grid.tokens, grid.width, grid.samples, grid.rate) == (64, 768, 480_000, 48_000)
    assert ClapEncoder(model, ClapFeatureExtractor()).width == 512


def encoder_of(kind: str, whisper_of: Any, hubert_of: Any, clap_of: Any) -> Any:
    if kind == "whisper":
        return WhisperAudioEncoder(*whisper_of())
    if kind == "hubert":
        return HubertEncoder(*hubert_of(), seconds=1.0)
    model, extractor = clap_of()
    return ClapEncoder(_with_projection(model), extractor)


KINDS = pytest.mark.parametrize("kind", ["whisper", "hubert", "clap"])


@KINDS
def test_batches_equal_single_runs(kind: str, whisper_of: Any, hubert_of: Any, clap_of: Any, sound_of: Any) -> None:
    encoder = encoder_of(kind, whisper_of, hubert_of, clap_of)
    sounds = [
        sound_of(seconds, rate, seed) for seed, (seconds, rate) in enumerate([(0.2, 16_000), (3, 8_000), (1, 44_100)])
    ]
    together = encoder.encode(encoder.preprocess(sounds, "crop"))
    for sound, features in zip(sounds, together, strict=True):
        alone = encoder.encode(encoder.preprocess([sound], "crop"))[0]
        torch.testing.assert_close(features, alone, **CLOSE)


@KINDS
def test_silent_tiny_and_no_sounds_have_defined_features(
    kind: str, whisper_of: Any, hubert_of: Any, clap_of: Any
) -> None:
    encoder = encoder_of(kind, whisper_of, hubert_of, clap_of)
    sounds = [Sound(np.zeros(count, dtype=np.float32), 16_000) for count in (1, 16_000, 100_000)]
    features = encoder.encode(encoder.preprocess(sounds, "crop"))
    assert features.shape == (3, encoder.tokens, encoder.width)
    assert bool(features.isfinite().all())
    assert encoder.encode(encoder.preprocess([], "crop")).shape == (0, encoder.tokens, encoder.width)


@KINDS
def test_beginning_of_a_long_sound_is_heard(
    kind: str, whisper_of: Any, hubert_of: Any, clap_of: Any, sound_of: Any
) -> None:
    encoder = encoder_of(kind, whisper_of, hubert_of, clap_of)
    long = sound_of(5.0)
    beginning = Sound(long.samples[: encoder.samples], long.rate)
    both = encoder.encode(encoder.preprocess([long, beginning], "crop"))
    torch.testing.assert_close(both[0], both[1], **CLOSE)


@KINDS
def test_port_is_frozen_in_eval_mode_and_moves(
    kind: str, whisper_of: Any, hubert_of: Any, clap_of: Any, sound_of: Any
) -> None:
    encoder = encoder_of(kind, whisper_of, hubert_of, clap_of)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    features = encoder.encode(encoder.preprocess([sound_of()], "crop"))
    assert not features.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(module.training for module in encoder.model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    digest = encoder.port.weights
    half = encoder.to(torch.bfloat16)
    assert half.encode(half.preprocess([sound_of()], "crop")).dtype == half.dtype == torch.bfloat16
    del half.port
    assert half.port.weights == digest


def test_window_of_a_long_sound_is_that_of_the_whole_resampled(sound_of: Any) -> None:
    long = sound_of(4.0, 44_100)
    from inlay.adapters.media.audio import resample

    whole = resample(long, 16_000).samples[:16_000]
    np.testing.assert_allclose(window(long, 16_000, 16_000), whole, atol=1e-4)


@pytest.mark.parametrize("whole", [True, False])
def test_whisper_is_read_from_any_of_its_checkpoints(
    whisper_of: Any, sound_of: Any, tmp_path: Path, whole: bool
) -> None:
    model, extractor = whisper_of()
    (model if whole else model.model).save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    loaded, direct = load_audio_encoder(tmp_path), WhisperAudioEncoder(model, extractor)
    assert loaded.port.weights == direct.port.weights
    assert loaded.port.source == tmp_path.name
    inputs = direct.preprocess([sound_of()], "crop")
    assert torch.equal(loaded.encode(inputs), direct.encode(inputs))


def test_hubert_and_clap_are_read_from_folders(hubert_of: Any, clap_of: Any, tmp_path: Path) -> None:
    for name, (model, extractor) in {"hubert": hubert_of(), "clap": clap_of()}.items():
        model.save_pretrained(tmp_path / name)
        extractor.save_pretrained(tmp_path / name)
    hubert = load_audio_encoder(tmp_path / "hubert", feature_options={"seconds": 0.5, "layer": 1})
    assert (hubert.family, hubert.port.settings["seconds"], hubert.port.settings["layer"]) == ("hubert", 0.5, 1)
    clap = load_audio_encoder(tmp_path / "clap", feature_options={"features": "grid"})
    assert (clap.family, clap.tokens, clap.width) == ("clap", 64, 32)


def test_unknown_family_and_unknown_argument_are_refused(clip_of: Any, hubert_of: Any, tmp_path: Path) -> None:
    clip_of().model.save_pretrained(tmp_path / "clip")
    with pytest.raises(BackboneError, match="audio encoders of type 'clip_vision_model' are not supported"):
        load_audio_encoder(tmp_path / "clip")
    model, extractor = hubert_of()
    model.save_pretrained(tmp_path / "hubert")
    extractor.save_pretrained(tmp_path / "hubert")
    with pytest.raises(BackboneError, match="has no argument frames; it has: seconds, layer"):
        load_audio_encoder(tmp_path / "hubert", feature_options={"frames": 4})
    with pytest.raises(BackboneError, match="no such folder"):
        load_audio_encoder(tmp_path / "nowhere")
