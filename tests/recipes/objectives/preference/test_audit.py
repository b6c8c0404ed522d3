"""The audit: figures by medium, and what they say in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.recipes.objectives.preference.audit import Sums, verdict
from inlay.recipes.objectives.preference.settings import Preference

SIGHTED = {"right": 0.9, "blank": 0.6, "other": 0.5}


def test_a_pair_counts_where_the_chosen_answer_gained_more() -> None:
    start = Sums(torch.tensor([-5.0, -5.0, -5.0]), torch.tensor([-4.0, -4.0, -4.0]))
    after = Sums(torch.tensor([-4.0, -5.0, -6.0]), torch.tensor([-4.0, -4.0, -6.0]))
    assert after.accuracy(start) == pytest.approx(2 / 3)
    assert after.accuracy() == 0.0


def test_a_run_that_is_as_good_blind_says_so() -> None:
    assert any("was not used" in line for line in verdict({"right": 0.9, "blank": 0.88, "other": 0.5}, 0.1, 100))
    assert not any("was not used" in line for line in verdict(SIGHTED, 0.1, 100))


def test_text_alone_is_not_called_blind() -> None:
    assert len(verdict({"right": 0.9}, 0.1, 100)) == 1


def test_each_share_is_named_by_its_medium() -> None:
    told = "90.0 % with the right medium, 60.0 % with a blank one, 50.0 % with another row's"
    assert verdict(SIGHTED, 0.1, 100) == [f"reward accuracy on 100 held-out pairs: {told}"]


def test_few_pairs_have_their_standard_error() -> None:
    assert "the standard error of a share is up to 20 points" in verdict(SIGHTED, 0.1, 6)[1]


def test_chosen_answers_that_sink_are_reported() -> None:
    assert any("less likely" in line for line in verdict(SIGHTED, -3.0, 100))
    assert not any("less likely" in line for line in verdict(SIGHTED, -0.2, 100))


def test_the_figures_are_those_of_a_stage(planned: Any, model: Any, pairs: Any) -> None:
    said: list[str] = []
    plan = planned(model, Preference(), pairs, task={"audited": pairs, "show": said.append})
    with torch.no_grad():
        for parameter in model.adapter.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    figures = plan.figures()
    assert set(figures["reward_accuracy"]) == {"right", "blank", "other"}
    assert all(0 <= value <= 1 for value in figures["reward_accuracy"].values())
    batch = plan.data.collate(plan.data.rows())
    plan.module.adapter.eval()
    sums = batch.streams(model.log_probs(batch.batch))
    start = batch.streams(plan.module.reference.log_probs(batch.batch))
    gain = (sums["chosen"] - start["chosen"]).mean()
    assert figures["chosen_above_reference"] == pytest.approx(float(gain.detach()), rel=1e-4)
    assert any("reward accuracy on 4 held-out pairs" in line for line in said)


def test_without_held_out_pairs_there_is_no_audit(planned: Any, model: Any, pairs: Any) -> None:
    assert planned(model, Preference(), pairs).figures() == {}


def test_a_loss_with_another_medium_is_audited_with_its_own_views(planned: Any, model: Any, pairs: Any) -> None:
    settings = Preference(loss="mdpo", other_image="blank")
    plan = planned(model, settings, pairs, task={"audited": pairs, "show": lambda _: None})
    assert set(plan.figures()["reward_accuracy"]) == {"right", "blank", "other"}
