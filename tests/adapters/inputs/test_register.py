"""A projector of one's own: what it must offer, and what is said where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from torch import Tensor, nn

from inlay.adapters.inputs import PROJECTORS, LinearConfig, LinearProjector, build_projector, register_projector
from inlay.adapters.parts.fields import ProjectorError

pytestmark = pytest.mark.usefixtures("own_projectors")


@dataclass(frozen=True, kw_only=True)
class Config:
    width_in: int
    width_out: int


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
        (lacking(), Config, "Lacking: kind: expected a name of letters and digits, got None"),
        (lacking(kind="a b"), Config, "kind: expected a name of letters and digits, got 'a b'"),
        (lacking(kind="own"), Config, "which lacks reads_prompt, tokens"),
        (type("Plain", (), dict(vars(Own))), Config, "which lacks only that it is no nn.Module"),
        (Own, dict, "expected a dataclass with the fields width_in and width_out"),
        (type("Taken", (Own,), {"kind": "linear"}), Config, "another projector has this kind, LinearProjector"),
        (LinearProjector, Config, "linear: another projector has this kind"),
    ],
)
def test_what_cannot_be_a_projector_is_refused(module: Any, config: Any, told: str) -> None:
    before = dict(PROJECTORS)
    with pytest.raises(ProjectorError) as error:
        register_projector(module, config)
    assert told in str(error.value)
    assert before == PROJECTORS


def test_one_of_ours_is_registered_already() -> None:
    register_projector(LinearProjector, LinearConfig)
    assert PROJECTORS["linear"] == (LinearProjector, LinearConfig)
