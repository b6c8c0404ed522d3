"""mDPO and SymMPO: formulas of the released code, and their dependence on the image."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from preference_rows import checked_pairs, random_pairs
from torch.nn.functional import logsigmoid

from inlay.recipes.objectives.preference.losses.dpo import Sigmoid
from inlay.recipes.objectives.preference.losses.multimodal import Mdpo, Symmpo
from inlay.recipes.objectives.preference.losses.streams import LossError


def test_the_check_value_of_mdpo() -> None:
    assert Mdpo()(checked_pairs()).mean().item() == pytest.approx(2.029088, abs=5e-7)


def test_symmpo_is_the_formula_of_the_released_code() -> None:
    p = random_pairs()
    # Its names: logp_<image>_<answer> with images 1 and 2, answers w, l and 2.
    logits = (p.chosen - p.rejected) - (p.ref_chosen - p.ref_rejected)
    logits_1 = (p.chosen - p.second_answer) - (p.ref_chosen - p.ref_second_answer)
    logits_2 = (p.second_answer_other_image - p.chosen_other_image) - (
        p.ref_second_answer_other_image - p.ref_chosen_other_image
    )
    expected = -logsigmoid(0.1 * logits)
    expected = expected + 0.5 * (-logsigmoid(0.1 * logits_1) - logsigmoid(0.1 * logits_2))
    expected = expected - logsigmoid(0.1 * (p.chosen - p.ref_chosen))
    expected = expected - logsigmoid(0.1 * (p.second_answer_other_image - p.ref_second_answer_other_image))
    expected = expected + 0.0001 * torch.pow(logits_1 - logits_2, 2)
    torch.testing.assert_close(Symmpo()(p), expected)


def test_the_first_losses_are_the_published_multiples_of_ln_2() -> None:
    assert Mdpo().first_step() == pytest.approx(3 * math.log(2))
    assert Symmpo().first_step() == pytest.approx((3 + 2 * 0.5) * math.log(2))
    assert Mdpo(image_weight=0.5, anchor_weight=0.25).first_step() == pytest.approx(1.75 * math.log(2))
    assert Mdpo(anchor=1.0).first_step() is None


def test_without_image_term_and_anchor_mdpo_is_dpo() -> None:
    pairs = random_pairs()
    torch.testing.assert_close(Mdpo(image_weight=0, anchor_weight=0)(pairs), Sigmoid()(pairs))


def test_mdpo_falls_when_the_answer_needs_its_image_more() -> None:
    pairs = random_pairs()
    without = replace(pairs, chosen_other_image=pairs.chosen_other_image - 1)
    assert (Mdpo()(without) < Mdpo()(pairs)).all()


def test_an_anchor_is_in_nats() -> None:
    pairs = random_pairs()
    expected = Mdpo(anchor_weight=0)(pairs) - logsigmoid(0.1 * (pairs.ratio("chosen") - 2.0))
    torch.testing.assert_close(Mdpo(anchor=2.0)(pairs), expected)


@pytest.mark.parametrize(
    ("kind", "stream", "advice"),
    [
        (Mdpo, "chosen_other_image", "Compute the chosen answer again with a corrupted or another image"),
        (Symmpo, "second_answer", "Give every row a second image with its own answer"),
        (Mdpo, "ref_chosen", "Run the reference or read its stored log-probabilities"),
    ],
)
def test_a_missing_stream_is_explained(kind: type, stream: str, advice: str) -> None:
    with pytest.raises(
        LossError, match=rf"{kind.name}: expected {stream} \(the .* log-probability of .*got none. {advice}"
    ):
        kind()(replace(random_pairs(), **{stream: None}))


@pytest.mark.parametrize("kind", [Mdpo, Symmpo])
def test_weights_are_not_negative(kind: type) -> None:
    with pytest.raises(LossError, match=f"{kind.name}: image_weight: expected a number of at least 0, got -1"):
        kind(image_weight=-1)
