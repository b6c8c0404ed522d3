"""Published and small settings of alignment tuning."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.recipes.objectives.policy_gradient.settings import Grpo
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.systems.align import SYSTEM, recipe


@pytest.mark.parametrize("version", SYSTEM.versions)
def test_every_version_has_two_sizes_with_the_same_loss(version: Any) -> None:
    full, small = (recipe(version, size).stages["prefer"] for size in ("full", "miniature"))
    assert full.lr["lora"] < small.lr["lora"]
    if isinstance(full.objective, Preference) and isinstance(small.objective, Preference):
        assert full.objective.loss == small.objective.loss


def test_only_the_supervised_weight_of_rpo_differs_between_the_sizes() -> None:
    both = {
        version: [recipe(version, size).stages["prefer"].objective for size in ("full", "miniature")]
        for version in SYSTEM.versions
    }
    differ = {name for name, (full, small) in both.items() if isinstance(full, Preference) and full != small}
    assert differ == {"rpo"}


def test_published_rates_are_those_of_lora() -> None:
    """5e-6 to 1e-5 is usual; CHAIR-DPO's authors and TRL's GRPO give their own."""
    rates = {version: recipe(version, "full").stages["prefer"].lr["lora"] for version in SYSTEM.versions}
    own = {version: rates.pop(version) for version in ("chair_dpo", "grpo", "rloo")}
    assert own == {"chair_dpo": 2e-6, "grpo": 1e-6, "rloo": 1e-6}
    assert all(5e-6 <= rate <= 1e-5 for rate in rates.values())


def test_mdpo_has_the_optimizer_of_its_authors() -> None:
    stage = recipe("mdpo", "full").stages["prefer"]
    assert (stage.epochs, stage.optimizer.weight_decay, stage.optimizer.betas) == (3.0, 0.05, (0.9, 0.98))


def test_the_published_grpo_replaces_no_question() -> None:
    """Dynamic sampling is DAPO's."""
    found = [recipe("grpo", size).stages["prefer"].objective for size in ("full", "miniature")]
    assert [own.replacements for own in found if isinstance(own, Grpo)] == [0, 2]
