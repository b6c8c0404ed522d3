"""Audio models that are not registered by a class of their own, and the relatives of HuBERT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import ASTFeatureExtractor, SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor

from inlay.adapters.encoders import AnySoundEncoder, HubertEncoder
from inlay.adapters.loading.encoders.audio import load_audio_encoder

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
WAVES = {
    **SMALL,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 4, 4),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
RELATIVES = {
    "wav2vec2": "Wav2Vec2Model",
    "wavlm": "WavLMModel",
    "unispeech": "UniSpeechModel",
    "unispeech-sat": "UniSpeechSatModel",
    "data2vec-audio": "Data2VecAudioModel",
    "wav2vec2-conformer": "Wav2Vec2ConformerModel",
}


def make(name: str, sizes: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    family = getattr(transformers, name)
    return family(family.config_class(**sizes)).eval()


@pytest.mark.parametrize("kind", RELATIVES)
def test_a_relative_of_hubert_gives_the_features_of_transformers(kind: str, sound_of: Any, tmp_path: Path) -> None:
    model, extractor = make(RELATIVES[kind], WAVES), Wav2Vec2FeatureExtractor(do_normalize=True)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    encoder = load_audio_encoder(tmp_path, feature_options={"seconds": 0.5})
    assert isinstance(encoder, HubertEncoder)
    assert encoder.family == kind
    sound = sound_of(0.5)
    with torch.no_grad():
        values = extractor(sound.samples, sampling_rate=16_000, return_tensors="pt").input_values
        wanted = model(values).last_hidden_state
    found = encoder.encode(encoder.preprocess([sound], "squash"))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_ast_is_read_without_its_two_special_tokens(sound_of: Any, tmp_path: Path) -> None:
    sizes = {**SMALL, "max_length": 64, "num_mel_bins": 32, "patch_size": 16, "time_stride": 16, "frequency_stride": 16}
    model, extractor = make("ASTModel", sizes), ASTFeatureExtractor(max_length=64, num_mel_bins=32)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    encoder: Any = load_audio_encoder(tmp_path, feature_options={"seconds": 0.5})
    assert isinstance(encoder, AnySoundEncoder)
    assert (encoder.special, encoder.tokens, encoder.width) == (2, 8, 16)
    sound = sound_of(0.5)
    with torch.no_grad():
        wanted = model(**extractor(sound.samples, sampling_rate=16_000, return_tensors="pt")).last_hidden_state[:, 2:]
    found = encoder.encode(encoder.preprocess([sound, sound_of(0.2, seed=1)], "squash"))
    torch.testing.assert_close(found[:1], wanted, rtol=1e-4, atol=1e-5)
    assert encoder.encode(encoder.preprocess([], "squash")).shape == (0, 8, 16)


def test_wav2vec2_bert_reads_its_spectrogram(sound_of: Any, tmp_path: Path) -> None:
    sizes = {**SMALL, "feature_projection_input_dim": 160, "conv_depthwise_kernel_size": 3}
    model, extractor = make("Wav2Vec2BertModel", sizes), SeamlessM4TFeatureExtractor()
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    encoder: Any = load_audio_encoder(tmp_path, feature_options={"seconds": 0.5})
    sound = sound_of(0.5)
    with torch.no_grad():
        given = extractor(sound.samples, sampling_rate=16_000, return_tensors="pt").input_features
        wanted = model(given).last_hidden_state
    found = encoder.encode(encoder.preprocess([sound], "squash"))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert encoder.special == 0
