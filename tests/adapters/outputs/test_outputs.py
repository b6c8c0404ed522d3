"""Output projectors: shapes, exact counts, and the transformer against torch's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inlay.adapters.outputs import OUTPUTS, OutputProjector, OutputSizes, build_output, register_output
from inlay.adapters.outputs.losses import conditioning_distance
from inlay.adapters.parts.registration import RegistrationError
from inlay.hub.errors import BundleError

SIZES = {"width_in": 24, "signals": 4, "tokens": 7, "width_out": 10}
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": 16},
    "transformer": {"hidden": 16, "ffn": 24, "heads": 2, "encoder_layers": 2, "decoder_layers": 1},
    "qformer": {"hidden": 16, "ffn": 24, "heads": 2},
}


@pytest.mark.parametrize("kind", sorted(OUTPUTS))
def test_every_projector_keeps_its_promises(kind: str) -> None:
    projector = build_output(kind, SIZES | SMALL[kind])
    assert isinstance(projector, OutputProjector)
    assert projector(torch.randn(3, 4, 24)).shape == (3, 7, 10)
    assert build_output(kind, dict(vars(projector.config))).config == projector.config


@pytest.mark.parametrize("kind", sorted(OUTPUTS))
def test_every_signal_token_matters_and_every_parameter_learns(kind: str) -> None:
    torch.manual_seed(0)
    projector = build_output(kind, SIZES | SMALL[kind]).eval()
    states = torch.randn(2, 4, 24, requires_grad=True)
    (projector(states) * torch.randn(2, 7, 10)).sum().backward()
    assert states.grad is not None
    assert states.grad.flatten(0, 1).abs().sum(dim=1).min() > 0
    # A bias before a softmax over keys moves every score alike.
    idle = {name for name, tensor in projector.named_parameters() if not tensor.grad.abs().max() > 1e-9}
    assert {name for name in idle if "key.bias" not in name} == set()


@pytest.mark.parametrize("kind", sorted(OUTPUTS))
def test_no_media_is_an_empty_batch(kind: str) -> None:
    assert build_output(kind, SIZES | SMALL[kind])(torch.zeros(0, 4, 24)).shape == (0, 7, 10)


@pytest.mark.parametrize(
    ("tokens", "width", "count"),
    [(77, 768, 31_958_784), (77, 1024, 32_090_112), (1, 512, 31_788_544)],
    ids=["stable-diffusion-1.5", "stable-diffusion-2", "audioldm"],
)
def test_counts_of_the_published_sizes(tokens: int, width: int, count: int) -> None:
    with torch.device("meta"):
        projector = build_output("transformer", {"width_in": 4096, "signals": 4, "tokens": tokens, "width_out": width})
    assert sum(parameter.numel() for parameter in projector.parameters()) == count


def test_transformer_equals_torchs_own_with_the_same_weights() -> None:
    torch.manual_seed(1)
    projector: Any = build_output("transformer", SIZES | SMALL["transformer"]).eval()
    with pytest.warns(UserWarning, match="enable_nested_tensor"):
        other = nn.Transformer(16, 2, 2, 1, 24, 0.0, batch_first=True, norm_first=True).eval()
    other.load_state_dict(projector.transformer.state_dict())
    states = torch.randn(2, 4, 24)
    inside = other(projector.project_in(states), projector.queries.expand(2, -1, -1))
    torch.testing.assert_close(projector(states), projector.project_out(inside))


def test_mlp_with_as_many_tokens_as_signals_mixes_nothing() -> None:
    projector: Any = build_output("mlp", SIZES | {"tokens": 4, "depth": 3})
    states = torch.randn(2, 4, 24)
    assert projector.mixture is None
    torch.testing.assert_close(projector(states)[:, 1], projector(states[:, 1:2])[:, 0])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("signals", 0, "signals: expected an integer from 1 to 4096, got 0"),
        ("hidden", 513, "hidden: expected a multiple of the 4 heads, got 513"),
        ("colour", 1, "transformer: there is no field colour"),
    ],
)
def test_bad_fields_are_named(field: str, value: int, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        build_output("transformer", SIZES | {field: value})


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(BundleError, match="unknown output projector 'gan'; known: transformer, mlp, qformer"):
        build_output("gan", SIZES)


def test_one_of_ones_own(own_registrations: None) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Config(OutputSizes):
        pass

    class Own(nn.Module):
        kind = "own"

        def __init__(self, config: Config) -> None:
            super().__init__()
            self.config = config
            self.linear = nn.Linear(config.width_in * config.signals, config.tokens * config.width_out)

        def forward(self, states: Tensor) -> Tensor:
            return self.linear(states.flatten(1)).view(len(states), self.config.tokens, self.config.width_out)

    register_output(Own, Config)
    register_output(Own, Config)
    assert build_output("own", SIZES)(torch.zeros(1, 4, 24)).shape == (1, 7, 10)
    with pytest.raises(RegistrationError, match="Empty has no field width_in, signals, tokens, width_out"):
        register_output(type("Other", (nn.Module,), {"kind": "other"}), dataclass(type("Empty", (), {})))


@pytest.mark.parametrize("distance", ["per_token_l2", "mse"])
@pytest.mark.parametrize("kind", sorted(OUTPUTS))
def test_a_training_step_reads_no_value_from_the_device(kind: str, distance: Any) -> None:
    """On the meta device, reading a value raises an error; on a GPU, it would make the host wait."""
    with torch.device("meta"):
        projector: Any = build_output(kind, SIZES | SMALL[kind])
        conditioning = projector(torch.randn(2, 4, 24))
        conditioning_distance(conditioning, torch.zeros(2, 7, 10), distance).backward()
