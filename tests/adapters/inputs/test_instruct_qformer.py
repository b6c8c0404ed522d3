"""The instruction-aware Q-Former equals InstructBLIP's own, and it does listen to the instruction."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.adapters.inputs import InstructQFormerConfig, InstructQFormerProjector, ProjectorError
from inlay.adapters.parts.fields import ConfigError

SMALL = {"width_in": 24, "width_out": 20, "queries": 6, "hidden": 16, "layers": 3, "heads": 2, "ffn": 24}
TEXT = {"vocabulary": 40, "text_positions": 32, "prompt_tokens": 16}
IDS = torch.tensor([[3, 7, 9, 2], [4, 5, 0, 0], [8, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])


def make(**changes: Any) -> InstructQFormerProjector:
    return InstructQFormerProjector(InstructQFormerConfig(**SMALL, **TEXT, **changes))


def test_output_equals_that_of_instructblip(instructblip_of: Any) -> None:
    model = instructblip_of()
    projector = make(norm_eps=1e-6).eval()
    tensors = {f"model.{name}": tensor for name, tensor in model.qformer.state_dict().items()}
    tensors |= {f"ln_vision.{name}": value for name, value in model.vision_model.post_layernorm.state_dict().items()}
    tensors |= {f"projection.{name}": value for name, value in model.language_projection.state_dict().items()}
    projector.load_state_dict(tensors | {"query_tokens": model.query_tokens})
    pixels = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        vision = model.vision_model(pixels, output_hidden_states=True)
        text = torch.cat([torch.ones(3, 6, dtype=torch.long), MASK], dim=1)
        states = model.qformer(
            input_ids=IDS,
            attention_mask=text,
            query_embeds=model.query_tokens.expand(3, -1, -1),
            encoder_hidden_states=vision.last_hidden_state,
            encoder_attention_mask=torch.ones(3, 5, dtype=torch.long),
        ).last_hidden_state
        expected = model.language_projection(states[:, :6])
        torch.testing.assert_close(projector(vision.hidden_states[-1], IDS, MASK), expected, atol=1e-5, rtol=0)


def test_published_count() -> None:
    with torch.device("meta"):
        projector = InstructQFormerProjector(InstructQFormerConfig(width_in=1408, width_out=4096))
    assert sum(parameter.numel() for parameter in projector.parameters()) == 188_837_376


def test_another_instruction_gives_another_output() -> None:
    projector, features = make().eval(), torch.randn(1, 5, 24)
    with torch.no_grad():
        one, other = (projector(features, torch.tensor([[3, word]]), torch.ones(1, 2)) for word in (7, 9))
    assert (one - other).abs().max() > 1e-4


def test_padding_of_a_prompt_changes_nothing() -> None:
    projector, features = make().eval(), torch.randn(1, 5, 24)
    with torch.no_grad():
        short = projector(features, IDS[1:2, :2], MASK[1:2, :2])
        long = projector(features, IDS[1:2], MASK[1:2])
    torch.testing.assert_close(short, long, atol=1e-6, rtol=0)


def test_exactly_the_tensors_that_it_names_get_no_gradient() -> None:
    projector = make(dropout=0.0)
    projector(torch.randn(3, 5, 24), IDS, MASK).square().sum().backward()
    dead = {name for name, tensor in projector.named_parameters() if tensor.grad is None or not tensor.grad.any()}
    assert dead == projector.without_gradient


def test_no_media_still_touch_every_tensor() -> None:
    projector = make()
    projector(torch.zeros(0, 5, 24), IDS[:0], MASK[:0]).sum().backward()
    assert all(tensor.grad is not None for tensor in projector.parameters())


@pytest.mark.parametrize(
    ("ids", "mask", "said"),
    [
        (IDS[:2], MASK[:2], r"shape \[3, L\], one row for each medium, got \(2, 4\)"),
        (IDS, MASK[:, :3], r"got \(3, 4\) and \(3, 3\)"),
        (IDS.repeat(1, 9), MASK.repeat(1, 9), "at most 32 tokens, got 36; cut them to 16"),
    ],
    ids=["rows", "mask", "length"],
)
def test_prompts_that_do_not_fit_are_refused(ids: torch.Tensor, mask: torch.Tensor, said: str) -> None:
    with pytest.raises(ProjectorError, match=said):
        make()(torch.randn(3, 5, 24), ids, mask)


def test_prompts_cannot_be_cut_to_more_than_there_are_positions() -> None:
    with pytest.raises(ConfigError, match="prompt_tokens: expected at most text_positions = 32, got 33"):
        InstructQFormerConfig(**SMALL, **TEXT | {"prompt_tokens": 33})
