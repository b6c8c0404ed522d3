"""Preference tuning: the first step, the ways to the reference, and the gradients of shared prompts."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.recipes.data.cache.store import CacheStore
from inlay.recipes.objectives.preference.losses.registry import preference_loss_names
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.settings.errors import RecipeError

LN2 = log(2)


def first_batch(plan: Any) -> Any:
    data = plan.data
    return data.collate([data.read(0, index) for index in range(len(data.samples))])


def stepped(plan: Any) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of the first batch."""
    plan.module.train()
    loss = plan.module.terms(first_batch(plan))["preference"].mean
    trained = [parameter for parameter in plan.module.adapter.parameters() if parameter.requires_grad]
    return float(loss.detach()), list(torch.autograd.grad(loss, trained))


def close(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> None:
    for value, expected in zip(found, wanted, strict=True):
        assert float((value - expected).norm()) <= 1e-5 * float(expected.norm()) + 1e-8


def move(model: Any) -> None:
    """Train one step away from the reference."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.adapter.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))


@pytest.mark.parametrize(
    ("loss", "value"),
    [("sigmoid", LN2), ("hinge", 1.0), ("apo_zero", 1.0), ("mdpo", 3 * LN2), ("symmpo", (3 + 2 * 0.5) * LN2)],
)
@pytest.mark.parametrize("reference", ["live", "stored"])
def test_an_untouched_policy_has_the_known_loss(
    planned: Any, model: Any, with_second: Any, loss: str, value: float, reference: Any
) -> None:
    found, _ = stepped(planned(model, Preference(loss=loss, reference=reference), with_second))
    assert found == pytest.approx(value, abs=1e-4)


def test_another_first_loss_stops_the_run(planned: Any, model: Any, pairs: Any) -> None:
    plan = planned(model, Preference(reference="live"), pairs)
    move(model)
    with pytest.raises(RecipeError, match=r"expected the loss 0\.693147 .* got"):
        stepped(plan)


def test_after_the_first_step_policy_and_reference_may_differ(planned: Any, model: Any, pairs: Any) -> None:
    plan = planned(model, Preference(reference="live"), pairs)
    plan.module.on_before_optimizer_step(None)
    move(model)
    assert stepped(plan)[0] != pytest.approx(LN2, abs=1e-3)


@pytest.mark.parametrize("loss", ["sigmoid", "mdpo", "symmpo", "ipo", "dpop"])
def test_live_and_stored_references_agree(planned: Any, model: Any, with_second: Any, loss: str) -> None:
    plans = [planned(model, Preference(loss=loss, reference=name), with_second) for name in ("live", "stored")]
    move(model)
    found = []
    for plan in plans:
        plan.module.fresh = False
        found.append(stepped(plan))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    close(found[0][1], found[1][1])


def test_the_live_reference_is_the_adapter_at_the_start(
    planned: Any, model: Any, pairs: Any, adapter_of: Any, backbone_of: Any
) -> None:
    plan = planned(model, Preference(reference="live"), pairs)
    batch = first_batch(plan).batch
    move(model)
    model.adapter.eval()
    other = backbone_of()
    wanted = adapter_of(other, dropout=0.1).eval().attach(other).log_probs(batch).sums()
    torch.testing.assert_close(plan.module.reference.log_probs(batch).sums(), wanted, rtol=1e-5, atol=1e-5)
    assert float((model.log_probs(batch).sums() - wanted).abs().max().detach()) > 1e-3


def test_the_adapter_is_itself_again_after_an_error(planned: Any, model: Any, pairs: Any) -> None:
    plan = planned(model, Preference(reference="live"), pairs)
    move(model)
    before = [parameter.detach().clone() for parameter in model.adapter.parameters()]
    with pytest.raises(KeyError), plan.module.reference.in_place():
        raise KeyError
    assert all(map(torch.equal, before, model.adapter.parameters()))


@pytest.mark.parametrize("loss", ["sigmoid", "mdpo", "symmpo"])
def test_shared_prompts_have_the_gradients_of_plain_rows(
    planned: Any, model: Any, with_second: Any, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = planned(model, Preference(loss=loss, reference="live"), with_second)
    monkeypatch.setattr(model, "reads_branches", lambda: False)
    plain = planned(model, Preference(loss=loss, reference="live"), with_second)
    assert first_batch(shared).batch.branches
    assert not first_batch(plain).batch.branches
    move(model)
    found = []
    for plan in (shared, plain):
        plan.module.fresh = False
        found.append(stepped(plan))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    close(found[0][1], found[1][1])


def test_of_a_pair_the_picture_is_read_once(planned: Any, model: Any, pairs: Any) -> None:
    batch = first_batch(planned(model, Preference(), pairs)).batch
    assert len(batch.order) == len(pairs)


@pytest.mark.parametrize("name", preference_loss_names())
def test_every_loss_trains(planned: Any, model: Any, with_second: Any, labelled: Any, name: str) -> None:
    settings = Preference(loss=name)
    plan = planned(model, settings, with_second if settings.paired else labelled)
    plan.module.fresh = False
    move(model)
    value, gradients = stepped(plan)
    assert torch.isfinite(torch.tensor(value))
    assert any(float(gradient.norm()) > 0 for gradient in gradients)


def test_an_encoder_decoder_is_aligned_too(planned: Any, backbone_of: Any, adapter_of: Any, pairs: Any) -> None:
    backbone = backbone_of("t5")
    model = adapter_of(backbone, r=None).attach(backbone)
    plan = planned(model, Preference(), pairs, lr={"inputs": 1e-2})
    value, gradients = stepped(plan)
    assert value == pytest.approx(LN2, abs=1e-4)
    assert any(float(gradient.norm()) > 0 for gradient in gradients)


def test_segments_that_differ_weigh_more(planned: Any, model: Any, pairs: Any) -> None:
    plain = first_batch(planned(model, Preference(), pairs))
    weighted = first_batch(planned(model, Preference(segment_weight=3.0), pairs))
    assert plain.weights is None
    assert weighted.weights is not None
    assert set(weighted.weights.tolist()) == {1.0, 3.0}
    assert (weighted.counts["chosen"] > plain.counts["chosen"]).all()


def test_the_supervised_term_has_no_weights(planned: Any, model: Any, pairs: Any) -> None:
    plans = [planned(model, Preference(loss="sft", segment_weight=weight), pairs) for weight in (1.0, 3.0)]
    move(model)
    assert stepped(plans[0])[0] == pytest.approx(stepped(plans[1])[0], rel=1e-5)


def test_stored_log_probabilities_are_found_again_on_disk(
    planned: Any, model: Any, pairs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CacheStore(tmp_path / "cache")
    first = planned(model, Preference(reference="stored"), pairs, task={"store": store})
    calls: list[int] = []
    own = model.log_probs
    monkeypatch.setattr(model, "log_probs", lambda batch: calls.append(len(batch)) or own(batch))
    again = planned(model, Preference(reference="stored"), pairs, task={"store": store})
    assert calls == []
    reference = [first_batch(plan).reference for plan in (first, again)]
    torch.testing.assert_close(reference[0].tokens, reference[1].tokens)
    move(model)
    planned(model, Preference(reference="stored"), pairs, task={"store": store})
    assert calls  # other weights, other log-probabilities


def test_a_reference_is_right_under_autocast(planned: Any, model: Any, pairs: Any) -> None:
    """Autocast keeps converted weights by the parameter, whose values the reference changes."""
    plan = planned(model, Preference(reference="live"), pairs)
    batch = first_batch(plan)
    plan.module.train()
    with torch.autocast("cpu", torch.bfloat16):
        start = model.log_probs(batch.batch).sums().detach()
    move(model)
    plan.module.fresh = False
    with torch.autocast("cpu", torch.bfloat16):
        moved = model.log_probs(batch.batch).sums().detach()
        found = plan.module.log_probs(batch)
    torch.testing.assert_close(found.ref_chosen, batch.streams(replace_sums(batch, start))["chosen"])
    torch.testing.assert_close(found.chosen.detach(), batch.streams(replace_sums(batch, moved))["chosen"])
    assert found.chosen.requires_grad


def replace_sums(batch: Any, sums: torch.Tensor) -> Any:
    from inlay.adapters.core.results import TokenLogProbs

    return TokenLogProbs(sums, torch.arange(len(sums)), len(sums))


def test_dropout_is_off_while_training(planned: Any, model: Any, pairs: Any) -> None:
    plan = planned(model, Preference(), pairs)
    plan.module.train()
    assert not any(module.training for module in plan.module.adapter.modules())
