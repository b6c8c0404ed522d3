"""Tiny audio and joint models, and sounds and clips from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_media_encoders import CLAP_AUDIO, WAVES
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from inlay.adapters.encoders.beats import Beats, BeatsConfig
from inlay.adapters.encoders.imagebind import ImageBind, ImageBindConfig
from inlay.adapters.encoders.imagebind.config import AudioConfig, ImuConfig, MapConfig, TextConfig, VisionConfig
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.video import Video


def make_sound(seconds: float = 1.0, rate: int = 16_000, seed: int = 0) -> Sound:
    """Noise."""
    rng = np.random.default_rng(seed)
    return Sound(rng.normal(0, 0.1, int(seconds * rate)).astype(np.float32), rate)


def make_video(count: int = 8, fps: float = 4.0, size: tuple[int, int] = (50, 40), seed: int = 0) -> Video:
    """Noise, so that every frame and every place is another."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (count, size[1], size[0], 3), dtype=np.uint8)
    return Video(tuple(Image.fromarray(frame) for frame in frames), fps)


def make_whisper(seed: int = 0) -> tuple[WhisperForConditionalGeneration, WhisperFeatureExtractor]:
    """2 s, 16 bands, 100 features of 16."""
    torch.manual_seed(seed)
    config = WhisperConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        max_source_positions=100,
        num_mel_bins=16,
        vocab_size=40,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    return WhisperForConditionalGeneration(config).eval(), WhisperFeatureExtractor(feature_size=16, chunk_length=2)


def make_hubert(seed: int = 0, **changes: Any) -> tuple[HubertModel, Wav2Vec2FeatureExtractor]:
    """A feature every 80 samples, 16 values."""
    torch.manual_seed(seed)
    return HubertModel(HubertConfig(**WAVES | changes)).eval(), Wav2Vec2FeatureExtractor()


def make_clap(seed: int = 0, *, fusion: bool = False) -> tuple[ClapModel, ClapFeatureExtractor]:
    """1 s at 16 kHz, shared space of 12, 64 features of 32."""
    torch.manual_seed(seed)
    audio = {**CLAP_AUDIO, "enable_fusion": fusion}
    text = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 30,
    }
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=12)
    extractor = ClapFeatureExtractor(
        feature_size=16, max_length_s=1, sampling_rate=16_000, hop_length=250, frequency_max=8000
    )
    return ClapModel(config).eval(), extractor


def make_beats(seed: int = 0, **changes: Any) -> Beats:
    """4 features for every 160 ms, 24 values."""
    torch.manual_seed(seed)
    sizes = {
        "bands": 64,
        "patch_width": 16,
        "width": 24,
        "layers": 2,
        "heads": 4,
        "ffn": 32,
        "position_kernel": 8,
        "position_groups": 4,
        "buckets": 32,
        "max_distance": 64,
    }
    return Beats(BeatsConfig(**(sizes | changes))).eval()


def small_imagebind() -> ImageBindConfig:
    """All six branches, shared space of 20."""
    trunk = {"width": 24, "blocks": 2, "heads": 3}
    picture = {"image_size": 32, "patch": 8}
    return ImageBindConfig(
        width_out=20,
        vision=VisionConfig(**trunk, **picture),
        text=TextConfig(**trunk, context=9, vocabulary=40),
        audio=AudioConfig(**trunk, bands=32, kernel=16, stride=10),
        depth=MapConfig(**trunk, **picture, scale=5.0),
        thermal=MapConfig(**trunk, **picture),
        imu=ImuConfig(**trunk, channels=6, samples=48, kernel=8),
    )


def make_imagebind(seed: int = 0) -> ImageBind:
    """Norms differ from the identity, so that a norm that is left out changes the output."""
    torch.manual_seed(seed)
    model = ImageBind(small_imagebind())
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name or "bias" in name:
                tensor.add_(torch.randn(tensor.shape) * 0.2)
    return model.eval()


@pytest.fixture
def sound_of() -> Callable[..., Sound]:
    return make_sound


@pytest.fixture
def video_of() -> Callable[..., Video]:
    return make_video


@pytest.fixture
def whisper_of() -> Callable[..., Any]:
    return make_whisper


@pytest.fixture
def hubert_of() -> Callable[..., Any]:
    return make_hubert


@pytest.fixture
def clap_of() -> Callable[..., Any]:
    return make_clap


@pytest.fixture
def beats_of() -> Callable[..., Beats]:
    return make_beats


@pytest.fixture
def imagebind_of() -> Callable[..., ImageBind]:
    return make_imagebind
