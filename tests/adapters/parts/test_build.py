"""Projectors from untrusted plain values: every bound holds, and parameters are counted before memory is allocated."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from inlay.adapters.inputs import (
    PROJECTORS,
    InputProjector,
    LinearConfig,
    LinearProjector,
    build_projector,
    new_projector,
    register_projector,
)
from inlay.adapters.parts.fields import MAX_PARAMETERS, ConfigError
from inlay.hub.errors import BundleError

SMALL: dict[str, dict[str, Any]] = {
    "linear": {},
    "mlp": {},
    "qformer": {"queries": 4, "hidden": 16, "layers": 2, "heads": 2, "ffn": 24},
    "instruct_qformer": {"queries": 4, "hidden": 16, "layers": 2, "heads": 2, "ffn": 24, "vocabulary": 40},
    "patch_merge": {"class_token": False},
    "pixel_shuffle": {"norm": True},
    "avg_pool": {},
    "perceiver": {"latents": 4, "depth": 1, "heads": 2, "head_width": 4},
    "cross_attention": {"queries": 4},
    "cformer": {"queries": 4, "hidden": 16, "layers": 1, "heads": 2, "ffn": 24},
}
WIDTHS = {"width_in": 24, "width_out": 32}


@pytest.mark.parametrize("kind", sorted(PROJECTORS))
def test_every_projector_keeps_its_promises(kind: str) -> None:
    projector = build_projector(kind, WIDTHS | SMALL[kind])
    assert isinstance(projector, InputProjector)
    prompt = (torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3)) if projector.reads_prompt else ()
    assert projector(torch.randn(2, 16, 24), *prompt).shape == (2, projector.tokens(16), 32)


@pytest.mark.parametrize("kind", sorted(PROJECTORS))
def test_configuration_survives_plain_values(kind: str) -> None:
    projector = build_projector(kind, WIDTHS | SMALL[kind])
    again = build_projector(kind, dict(vars(projector.config)))
    assert again.config == projector.config


@pytest.mark.parametrize("kind", sorted(PROJECTORS))
def test_widths_of_the_miniature_need_no_other_field(kind: str) -> None:
    with torch.device("meta"):
        projector = build_projector(kind, {"width_in": 48, "width_out": 96})
    assert sum(parameter.numel() for parameter in projector.parameters()) > 0


def test_seed_gives_the_same_weights_as_building_it_directly() -> None:
    torch.manual_seed(0)
    built = build_projector("qformer", WIDTHS | SMALL["qformer"])
    module, config = PROJECTORS["qformer"]
    torch.manual_seed(0)
    direct = module(config(**WIDTHS, **SMALL["qformer"]))
    assert all(torch.equal(a, b) for a, b in zip(built.parameters(), direct.parameters(), strict=True))


@pytest.mark.parametrize(
    ("kind", "field", "value", "said"),
    [
        ("linear", "width_in", "24", "an integer from 1 to 1048576, got '24'"),
        ("linear", "width_in", True, "an integer from 1 to 1048576, got True"),
        ("linear", "width_in", 0, "an integer from 1 to 1048576, got 0"),
        ("linear", "width_in", 24.0, "an integer from 1 to 1048576, got 24.0"),
        ("linear", "width_in", None, "an integer from 1 to 1048576, got None"),
        ("mlp", "depth", 1 << 20, "an integer from 1 to 128, got 1048576"),
        ("qformer", "layers", 10_000, "an integer from 1 to 128, got 10000"),
        ("qformer", "queries", 1 << 20, "an integer from 1 to 4096, got 1048576"),
        ("qformer", "dropout", 1.5, "a number from 0 to 0.9, got 1.5"),
        ("qformer", "dropout", float("nan"), "a number from 0 to 0.9, got nan"),
        ("qformer", "norm_eps", -1e-5, "a number from 1e-12 to 0.01, got -1e-05"),
        ("qformer", "norm_eps", "1e-5", "a number from 1e-12 to 0.01, got '1e-5'"),
        ("patch_merge", "class_token", 1, "true or false, got 1"),
        ("pixel_shuffle", "factor", 33, "an integer from 1 to 32, got 33"),
        ("pixel_shuffle", "rows", -1, "an integer from 0 to 4096, got -1"),
        ("perceiver", "activation", "__import__", "one of 'squared_relu', 'relu', 'gelu', got '__import__'"),
        ("perceiver", "activation", ["relu"], r"one of 'squared_relu', 'relu', 'gelu', got \['relu'\]"),
    ],
)
def test_value_out_of_bounds_is_refused_by_name(kind: str, field: str, value: object, said: str) -> None:
    with pytest.raises(BundleError, match=rf"^inlay\.json: parts: {kind}: {field}: expected {said}$"):
        build_projector(kind, WIDTHS | SMALL[kind] | {field: value})


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("linear", {"width_in": 1 << 20, "width_out": 1 << 20}),
        ("mlp", {"width_in": 1, "width_out": 1 << 19, "depth": 128}),
        ("qformer", WIDTHS | {"hidden": 1 << 20, "heads": 1024, "ffn": 1 << 20, "layers": 128}),
        ("instruct_qformer", WIDTHS | {"vocabulary": 1 << 20, "hidden": 1 << 14, "heads": 1024}),
        ("patch_merge", {"width_in": 1 << 20, "width_out": 1 << 20, "merge": 4096}),
        ("pixel_shuffle", {"width_in": 1 << 20, "width_out": 1 << 20, "factor": 32}),
        ("avg_pool", {"width_in": 1 << 20, "width_out": 1 << 20}),
        ("perceiver", {"width_in": 1 << 20, "width_out": 1, "head_width": 4096, "heads": 1024}),
        ("cross_attention", {"width_in": 1 << 20, "width_out": 1 << 20}),
        ("cformer", {"width_in": 1 << 20, "width_out": 1}),
    ],
)
def test_terabyte_is_refused_before_it_is_taken(kind: str, config: dict[str, int]) -> None:
    with pytest.raises(BundleError, match=rf"{kind} of these sizes has [\d,]+ parameters; at most 2,147,483,648 are"):
        build_projector(kind, config)


def test_published_projectors_are_far_below_the_limit() -> None:
    with torch.device("meta"):
        projector = build_projector("instruct_qformer", {"width_in": 1408, "width_out": 8192})
    assert sum(parameter.numel() for parameter in projector.parameters()) * 10 < MAX_PARAMETERS


def test_number_of_parameters_is_held_against_the_manifest() -> None:
    built: Any = build_projector("linear", WIDTHS, parameters=24 * 32 + 32)
    assert built.tokens(7) == 7
    with pytest.raises(BundleError, match="has 800 parameters, expected 801 as in the manifest"):
        build_projector("linear", WIDTHS, parameters=801)


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        ("transformer", WIDTHS, r"unknown projector 'transformer'; known: linear, mlp, qformer"),
        ("linear", WIDTHS | {"path": 3}, "linear: there is no field path; expected width_in, width_out"),
        ("linear", {"width_in": 3}, "linear: the field width_out is missing"),
        ("qformer", WIDTHS | {"heads": 7}, "qformer: hidden: expected a multiple of the 7 heads, got 768"),
    ],
)
def test_unknown_missing_and_contradicting_fields_are_refused(kind: str, config: dict[str, int], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        build_projector(kind, config)


@pytest.mark.parametrize("kind", sorted(PROJECTORS))
def test_every_field_has_a_hint_that_bounds_it(kind: str) -> None:
    config = PROJECTORS[kind][1]
    for field in dataclasses.fields(config):
        with pytest.raises(BundleError):
            build_projector(kind, WIDTHS | SMALL[kind] | {field.name: object()})


def test_a_configuration_builds_the_module_that_it_belongs_to() -> None:
    for module, config_type in PROJECTORS.values():
        with torch.device("meta"):
            built = new_projector(config_type(), width_in=4096, width_out=1024)
        assert type(built) is module


def test_a_configuration_of_no_registered_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected a configuration of a registered class \(LinearConfig, "):
        new_projector(("mlp", {}), width_in=24, width_out=32)


def test_a_terabyte_asked_for_by_a_configuration_is_refused_before_it_is_allocated() -> None:
    with pytest.raises(ConfigError, match="linear of these sizes has 1,099,512,676,352 parameters; at most"):
        new_projector(LinearConfig(), width_in=1 << 20, width_out=1 << 20)


def test_a_configuration_that_raises_another_error_is_a_fault_of_the_bundle(own_registrations: None) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Picky:
        width_in: int
        width_out: int

        def __post_init__(self) -> None:
            raise ValueError("too picky")

    class Own(LinearProjector):
        kind = "own"

    register_projector(Own, Picky)
    with pytest.raises(BundleError, match="own: too picky"):
        build_projector("own", WIDTHS)


@pytest.mark.parametrize("kind", sorted(PROJECTORS))
def test_a_training_step_reads_no_value_from_the_device(kind: str) -> None:
    """On the meta device, reading a value raises an error; on a GPU, it would make the host wait."""
    with torch.device("meta"):
        projector: Any = build_projector(kind, WIDTHS | SMALL[kind])
        prompt = (torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3)) if projector.reads_prompt else ()
        projector(torch.randn(2, 16, 24), *prompt).square().mean().backward()
    assert all(parameter.device.type == "meta" for parameter in projector.parameters())
