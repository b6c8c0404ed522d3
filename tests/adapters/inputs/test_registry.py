"""A projector of one's own: what it must offer, and what is said where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from torch import Tensor, nn

from inlay.adapters.inputs import (
    PROJECTORS,
    LinearConfig,
    LinearProjector,
    build_projector,
    new_projector,
    projector_config,
    register_projector,
)
from inlay.adapters.parts.fields import ConfigError
from inlay.adapters.parts.registration import RegistrationError

pytestmark = pytest.mark.usefixtures("own_registrations")


@dataclass(frozen=True, kw_only=True)
class Config:
    width_in: int
    width_out: int


@dataclass
class Half:
    width_in: int


class Own(nn.Module):
    kind, reads_prompt = "own", False

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Linear(config.width_in, config.width_out)

    def tokens(self, features: int) -> int:
        return features

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.layer(features)
        return projected


def test_it_is_built_like_any_other_and_may_be_registered_again() -> None:
    register_projector(Own, Config)
    register_projector(Own, Config)
    assert isinstance(build_projector("own", {"width_in": 2, "width_out": 3}), Own)


def lacking(**fields: Any) -> Any:
    return type("Lacking", (nn.Module,), fields)


@pytest.mark.parametrize(
    ("module", "config", "told"),
    [
        (lacking(), Config, "projector Lacking: the class has no kind, reads_prompt, tokens"),
        (
            lacking(kind="a b", reads_prompt=False, tokens=len),
            Config,
            "expected a name of letters",
        ),
        (lacking(kind="own"), Config, "the class has no reads_prompt, tokens"),
        (type("Plain", (), dict(vars(Own))), Config, "projector: expected a class that extends nn.Module, got Plain"),
        (Own, dict, "projector Own: configuration: expected a dataclass, got <class 'dict'>"),
        (Own, Half, "projector Own: Half has no field width_out"),
        (Own, LinearConfig, "LinearConfig is the configuration of 'linear'"),
        (Own(Config(width_in=1, width_out=1)), Config, "expected a class that extends nn.Module, got Own("),
        (
            type("Taken", (Own,), {"kind": "linear"}),
            Config,
            "projector 'linear' is already registered as",
        ),
        (LinearProjector, Config, "projector 'linear' is already registered as LinearProjector"),
    ],
)
def test_what_cannot_be_a_projector_is_refused(module: Any, config: Any, told: str) -> None:
    before = dict(PROJECTORS)
    with pytest.raises(RegistrationError) as error:
        register_projector(module, config)
    assert told in str(error.value)
    assert before == PROJECTORS


def test_one_of_ours_is_registered_already() -> None:
    register_projector(LinearProjector, LinearConfig)
    assert PROJECTORS["linear"] == (LinearProjector, LinearConfig)


def test_a_projector_whose_widths_have_no_default_can_be_configured_with_them() -> None:
    register_projector(Own, Config)
    widths = {"width_in": 2, "width_out": 3}
    assert isinstance(new_projector(projector_config("own", widths), **widths), Own)
    with pytest.raises(ConfigError, match="own: the field width_in, width_out is missing"):
        projector_config("own", {})


def test_an_unknown_kind_says_how_to_register_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown projector 'own'; known: linear, .*register_projector\("):
        projector_config("own", {})
