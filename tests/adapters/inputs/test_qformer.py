"""The Q-Former projector equals BLIP-2's own, its size is the published one, and every tensor of it trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import Blip2ForImageTextRetrieval

from inlay.adapters.inputs import ProjectorError, QFormer, QFormerConfig, QFormerProjector
from inlay.adapters.parts.fields import ConfigError

SMALL = {"width_in": 24, "queries": 6, "hidden": 16, "layers": 3, "heads": 2, "ffn": 24}


def projector_of(model: Any, norm_eps: float = 1e-6) -> QFormerProjector:
    """The projector inside a BLIP-2 model, by the names that transformers gives its tensors."""
    projector = QFormerProjector(QFormerConfig(**SMALL, width_out=20, norm_eps=norm_eps))
    tensors = {f"qformer.model.{name}": tensor for name, tensor in model.qformer.state_dict().items()}
    tensors |= {
        f"qformer.ln_vision.{name}": tensor for name, tensor in model.vision_model.post_layernorm.state_dict().items()
    }
    tensors |= {f"projection.{name}": tensor for name, tensor in model.language_projection.state_dict().items()}
    projector.load_state_dict(tensors | {"qformer.query_tokens": model.query_tokens})
    return projector.eval()


def features_and_prompts(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What BLIP-2 feeds to its Q-Former before the norm, and what it gives to its LLM."""
    pixels = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        vision = model.vision_model(pixels, output_hidden_states=True)
        prompts = model.language_projection(model.get_qformer_features(pixels))
    return vision.hidden_states[-1], prompts


def test_output_equals_that_of_blip2(blip2_of: Any) -> None:
    model = blip2_of()
    features, expected = features_and_prompts(model)
    with torch.no_grad():
        torch.testing.assert_close(projector_of(model)(features), expected, atol=1e-5, rtol=0)


def test_epsilon_of_ln_vision_is_a_setting(blip2_of: Any) -> None:
    model = blip2_of()
    features, expected = features_and_prompts(model)
    with torch.no_grad():
        coarse = projector_of(model, norm_eps=1e-2)(features)
    assert (coarse - expected).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("llm", "width", "count"),
    [
        ("opt-2.7b", 2560, 107_133_696),
        ("opt-6.7b", 4096, 108_314_880),
        ("flan-t5-xl", 2048, 106_739_968),
        ("flan-t5-xxl", 4096, 108_314_880),
    ],
)
def test_published_counts(llm: str, width: int, count: int) -> None:
    with torch.device("meta"):
        projector = QFormerProjector(QFormerConfig(width_in=1408, width_out=width))
    assert sum(parameter.numel() for parameter in projector.parameters()) == count


def test_tokens_are_the_queries_whatever_the_number_of_features() -> None:
    projector = QFormerProjector(QFormerConfig(**SMALL, width_out=20))
    assert (projector.tokens(5), projector.tokens(257)) == (6, 6)
    assert projector(torch.randn(2, 9, 24)).shape == (2, 6, 20)


def test_every_tensor_gets_a_gradient() -> None:
    projector = QFormerProjector(QFormerConfig(**SMALL, width_out=20, dropout=0.0))
    projector(torch.randn(2, 5, 24)).square().sum().backward()
    assert [name for name, tensor in projector.named_parameters() if tensor.grad is None or not tensor.grad.any()] == []


def test_no_media_still_touch_every_tensor() -> None:
    projector = QFormerProjector(QFormerConfig(**SMALL, width_out=20))
    empty = projector(torch.zeros(0, 5, 24))
    empty.sum().backward()
    assert empty.shape == (0, 6, 20)
    assert all(tensor.grad is not None for tensor in projector.parameters())


def test_copy_of_a_blip2_qformer_is_independent_of_it(blip2_of: Any) -> None:
    model = blip2_of()
    features, expected = features_and_prompts(model)
    copied = QFormer.from_blip2(model).eval()
    nn.init.zeros_(model.query_tokens)
    with torch.no_grad():
        torch.testing.assert_close(model.language_projection(copied(features)), expected, atol=1e-5, rtol=0)


def test_qformer_with_text_layers_is_not_taken_for_one_without(blip2_of: Any) -> None:
    with pytest.raises(ProjectorError, match=r"use_qformer_text_input of this Q-Former: expected False, got True"):
        QFormer.from_blip2(blip2_of(kind=Blip2ForImageTextRetrieval))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="hidden: expected a multiple of the 5 heads, got 16"):
        QFormerConfig(**SMALL | {"heads": 5}, width_out=20)
