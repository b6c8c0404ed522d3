"""The registry of preference losses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from preference_rows import random_pairs
from torch import Tensor

from inlay.recipes.objectives.preference.losses import registry
from inlay.recipes.objectives.preference.losses.registry import (
    BetaLoss,
    log_loss,
    preference_loss,
    preference_loss_names,
    preference_loss_type,
    register_preference_loss,
)
from inlay.recipes.objectives.preference.losses.streams import LossError, PairLogProbs


@pytest.fixture(autouse=True)
def _own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})


@dataclass(frozen=True, kw_only=True)
class Exponential(BetaLoss[PairLogProbs]):
    name: ClassVar[str] = "exponential"
    needs: ClassVar[tuple[str, ...]] = ("ref_chosen", "ref_rejected")

    def per_row(self, pairs: PairLogProbs) -> Tensor:
        return (-self.beta * (pairs.ratio("chosen") - pairs.ratio("rejected"))).exp()


@dataclass(frozen=True, kw_only=True)
class Scaled(Exponential):
    name: ClassVar[str] = "scaled"
    scale: float


def test_a_loss_of_ones_own_is_found_by_name() -> None:
    register_preference_loss(Exponential)
    register_preference_loss(Exponential)
    loss = preference_loss("exponential", beta=0.2)
    assert "exponential" in preference_loss_names()
    assert loss.needs_reference
    assert loss(random_pairs()).shape == (6,)


def test_names_are_those_of_the_classes() -> None:
    assert [preference_loss_type(name).name for name in preference_loss_names()] == list(preference_loss_names())


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(LossError, match=r"loss: expected one of sigmoid, .*, got 'dpo2'"):
        preference_loss("dpo2")


def test_an_unknown_setting_lists_the_known_ones() -> None:
    with pytest.raises(LossError, match="hinge: expected settings among beta, divergence, alpha, got 'gamma'"):
        preference_loss("hinge", gamma=1.0)


def test_a_name_of_the_package_is_taken() -> None:
    kind = dataclass(frozen=True, kw_only=True)(type("Other", (Exponential,), {"name": "sigmoid"}))
    with pytest.raises(LossError, match="loss sigmoid: another loss has this name"):
        register_preference_loss(kind)


def test_another_class_cannot_replace_a_registered_one() -> None:
    register_preference_loss(Exponential)
    kind = dataclass(frozen=True, kw_only=True)(type("Other", (Exponential,), {}))
    with pytest.raises(LossError, match="loss exponential: another loss has this name"):
        register_preference_loss(kind)


def test_an_unknown_stream_is_refused() -> None:
    kind = dataclass(frozen=True, kw_only=True)(type("Other", (Exponential,), {"name": "o", "needs": ("blank",)}))
    with pytest.raises(LossError, match=r"loss o: needs: expected names among chosen, .*, got 'blank'"):
        register_preference_loss(kind)


def test_a_field_without_default_is_refused() -> None:
    with pytest.raises(LossError, match="loss scaled: expected a default for every field, got none for scale"):
        register_preference_loss(Scaled)


@pytest.mark.parametrize("kind", [dict, Exponential(), type("Nameless", (Exponential,), {"name": ""})])
def test_what_is_not_a_loss_is_refused(kind: type) -> None:
    with pytest.raises(LossError, match="expected a dataclass derived from PreferenceLoss with a name"):
        register_preference_loss(kind)


def test_settings_are_read_without_torch() -> None:
    program = (
        "import sys\n"
        "from inlay.recipes.objectives.preference.losses.registry import preference_loss, preference_loss_names\n"
        "for name in preference_loss_names(): preference_loss(name)\n"
        "from inlay.recipes.objectives.policy_gradient.policy_loss import PolicySettings\n"
        "PolicySettings()\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_logistic_loss_is_that_of_torch() -> None:
    x = torch.linspace(-60, 60, 41)
    torch.testing.assert_close(log_loss(x), -torch.nn.functional.logsigmoid(x))
