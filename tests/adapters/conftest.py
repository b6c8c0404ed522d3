"""Tiny random models of the BLIP family and diffusion models, as transformers and diffusers build them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    Blip2Model,
    InstructBlipConfig,
    InstructBlipModel,
)

VISION = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
    "initializer_range": 0.2,
}
QFORMER = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "initializer_range": 0.2,
}
TEXT = {
    "model_type": "opt",
    "vocab_size": 50,
    "hidden_size": 20,
    "word_embed_proj_dim": 20,
    "ffn_dim": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}


def shaken(model: Any, seed: int) -> Any:
    """Norms that are not the identity, queries that are not zero: what is left out must show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name.lower() or name in ("query_tokens", "vision_model.embeddings.position_embedding"):
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return model.eval()


def make_blip2(seed: int = 4, kind: type[Any] = Blip2Model, **qformer: Any) -> Any:
    """A whole BLIP-2 of three layers of Q-Former, 5 features, 6 queries, LLM width 20."""
    torch.manual_seed(seed)
    text_branch = {"use_qformer_text_input": True} if kind is Blip2ForImageTextRetrieval else {}
    config = Blip2Config(
        vision_config=VISION,
        qformer_config=QFORMER | text_branch | qformer,
        text_config=TEXT,
        num_query_tokens=6,
        image_text_hidden_size=12,
    )
    return shaken(kind(config), seed)


def make_instructblip(seed: int = 5) -> Any:
    """The same with the instruction-aware Q-Former."""
    torch.manual_seed(seed)
    config = InstructBlipConfig(vision_config=VISION, qformer_config=QFORMER, text_config=TEXT, num_query_tokens=6)
    return shaken(InstructBlipModel(config), seed)


@pytest.fixture
def blip2_of() -> Callable[..., Any]:
    return make_blip2


@pytest.fixture
def instructblip_of() -> Callable[..., Any]:
    return make_instructblip


@pytest.fixture
def parts_of(tokenizer_of: Any) -> Callable[..., dict[str, Any]]:
    """The parts of a pipeline of diffusers by their names there."""
    from tiny_diffusion import MAKERS  # imports diffusers, which most tests here do without

    return lambda modality, **changes: MAKERS[modality](tokenizer_of(), **changes)


@pytest.fixture
def pipeline_of() -> Callable[..., Any]:
    """The pipeline itself, silent."""
    from tiny_diffusion import make_pipeline

    return make_pipeline


@pytest.fixture
def generator_of(parts_of: Any) -> Callable[..., Any]:
    """Ours around the same parts, or around new ones."""
    from tiny_diffusion import make_generator

    def make(modality: str, parts: dict[str, Any] | None = None, **options: Any) -> Any:
        return make_generator(modality, parts if parts is not None else parts_of(modality), **options)

    return make


@pytest.fixture
def folder_of(parts_of: Any, pipeline_of: Any, tmp_path: Path) -> Callable[..., Path]:
    """A pipeline on disk, as diffusers saves it."""

    def save(modality: str, **changes: Any) -> Path:
        pipeline_of(modality, parts_of(modality, **changes)).save_pretrained(tmp_path / modality)
        return tmp_path / modality

    return save


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any, Any], Path]:
    """The folder of a model and its processor or feature extractor."""

    def save(model: Any, processor: Any) -> Path:
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        return tmp_path

    return save
