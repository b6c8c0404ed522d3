"""Tiny random audio and video models of many families of transformers, with their feature extractors and processors."""

from __future__ import annotations

from typing import Any

import torch
import transformers

__all__ = [
    "AUDIO_ENCODERS",
    "CLAP_AUDIO",
    "VIDEO_ENCODERS",
    "VIDEO_PROCESSOR",
    "WAVES",
    "make_audio",
    "make_video_model",
]

_SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
WAVES = {
    **_SMALL,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 4, 4),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
_NORMALISED = ("Wav2Vec2FeatureExtractor", {"do_normalize": True})
_PLAIN = ("Wav2Vec2FeatureExtractor", {"do_normalize": False})
_SPEECH = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "vocab_size": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
CLAP_AUDIO = {
    "spec_size": 64,
    "patch_size": 4,
    "patch_stride": [4, 4],
    "num_mel_bins": 16,
    "hidden_size": 32,
    "depths": [1, 1],
    "num_hidden_layers": 2,
    "num_attention_heads": [2, 2],
    "patch_embeds_hidden_size": 16,
    "window_size": 4,
}
_CLAP = {"text_config": {**_SMALL, "vocab_size": 30}, "audio_config": CLAP_AUDIO, "projection_dim": 12}

AUDIO_ENCODERS: dict[str, tuple[str, dict[str, Any], tuple[str, dict[str, Any]], int, int]] = {
    "ast": (
        "ASTModel",
        {**_SMALL, "max_length": 64, "num_mel_bins": 32, "patch_size": 16, "time_stride": 16, "frequency_stride": 16},
        ("ASTFeatureExtractor", {"max_length": 64, "num_mel_bins": 32}),
        8,
        2,
    ),
    "clap": (
        "ClapModel",
        _CLAP,
        (
            "ClapFeatureExtractor",
            {
                "feature_size": 16,
                "max_length_s": 1,
                "sampling_rate": 16_000,
                "hop_length": 250,
                "frequency_max": 8000,
                "truncation": "rand_trunc",
            },
        ),
        1,
        0,
    ),
    "data2vec-audio": ("Data2VecAudioModel", WAVES, _NORMALISED, 100, 0),
    "hubert": ("HubertModel", WAVES, _NORMALISED, 100, 0),
    "mms (wav2vec2 with attention adapters)": (
        "Wav2Vec2Model",
        {**WAVES, "adapter_attn_dim": 4, "do_stable_layer_norm": True, "feat_extract_norm": "layer"},
        _NORMALISED,
        100,
        0,
    ),
    "moonshine": (
        "MoonshineModel",
        {
            "hidden_size": 16,
            "intermediate_size": 24,
            "encoder_num_hidden_layers": 2,
            "decoder_num_hidden_layers": 1,
            "encoder_num_attention_heads": 2,
            "decoder_num_attention_heads": 2,
            "vocab_size": 40,
        },
        _PLAIN,
        19,
        0,
    ),
    "sew": ("SEWModel", {**WAVES, "squeeze_factor": 2}, _NORMALISED, 100, 0),
    "sew-d": ("SEWDModel", {**WAVES, "squeeze_factor": 2}, _NORMALISED, 100, 0),
    "speech_to_text": (
        "Speech2TextModel",
        {**_SPEECH, "conv_channels": 16, "input_feat_per_channel": 80, "max_source_positions": 200},
        ("Speech2TextFeatureExtractor", {}),
        12,
        0,
    ),
    "unispeech": ("UniSpeechModel", WAVES, _NORMALISED, 100, 0),
    "unispeech-sat": ("UniSpeechSatModel", WAVES, _NORMALISED, 100, 0),
    "wav2vec2": ("Wav2Vec2Model", WAVES, _NORMALISED, 100, 0),
    "wav2vec2-bert": (
        "Wav2Vec2BertModel",
        {**_SMALL, "feature_projection_input_dim": 160, "conv_depthwise_kernel_size": 3},
        ("SeamlessM4TFeatureExtractor", {}),
        24,
        0,
    ),
    "wav2vec2-conformer": ("Wav2Vec2ConformerModel", WAVES, _NORMALISED, 100, 0),
    "wavlm": ("WavLMModel", WAVES, _NORMALISED, 100, 0),
    "whisper": (
        "WhisperModel",
        {**_SPEECH, "max_source_positions": 100, "num_mel_bins": 16},
        ("WhisperFeatureExtractor", {"feature_size": 16, "chunk_length": 2}),
        100,
        0,
    ),
}
"""Family -> model class, sizes, feature extractor, tokens of 0.5 s (of the whole window where it is fixed), and special
tokens in front."""

_VIT = {**_SMALL, "image_size": 32, "patch_size": 8}
VIDEO_ENCODERS: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "timesformer": ("TimesformerModel", {**_VIT, "num_frames": 4}, 64, 1),
    "videomae": ("VideoMAEModel", {**_VIT, "num_frames": 4}, 32, 0),
    "videoprism": (
        "VideoPrismVisionModel",
        {
            "hidden_size": 16,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "image_size": 32,
            "num_frames": 4,
            "tubelet_size": [1, 8, 8],
            "num_spatial_layers": 1,
            "num_temporal_layers": 1,
        },
        64,
        0,
    ),
    "vivit": ("VivitModel", {**_VIT, "num_frames": 4, "tubelet_size": [2, 8, 8]}, 32, 1),
    "vjepa2": (
        "VJEPA2Model",
        {
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "mlp_ratio": 2,
            "crop_size": 32,
            "patch_size": 8,
            "frames_per_clip": 4,
            "pred_hidden_size": 24,
            "pred_num_attention_heads": 2,
            "pred_num_hidden_layers": 1,
            "pred_num_mask_tokens": 2,
        },
        32,
        0,
    ),
}
"""Family -> model class, sizes, tokens of a clip without special ones, and special tokens in front."""

VIDEO_PROCESSOR = {
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.5, 0.6, 0.7],
}
"""Fields of a processor's file."""


def make_audio(name: str, seed: int = 0) -> tuple[Any, Any]:
    """A model of the table, in eval mode, and its feature extractor."""
    model_class, sizes, (extractor_class, options) = AUDIO_ENCODERS[name][:3]
    return _made(model_class, sizes, seed), getattr(transformers, extractor_class)(**options)


def make_video_model(name: str, seed: int = 0) -> Any:
    """A model of the table, in eval mode."""
    return _made(*VIDEO_ENCODERS[name][:2], seed)


def _made(model_class: str, sizes: dict[str, Any], seed: int) -> Any:
    torch.manual_seed(seed)
    family: Any = getattr(transformers, model_class)
    model = family(family.config_class(**sizes)).eval()
    for parameter in model.parameters():  # class tokens and position embeddings of some start at zero
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model
