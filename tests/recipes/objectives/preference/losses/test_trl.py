"""Every loss that TRL has, beside TRL's own code on random answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from trl_stubs import ONE_PROCESS, answers, model_of, trainer

from inlay.recipes.objectives.preference.losses.registry import preference_loss
from inlay.recipes.objectives.preference.losses.segments import token_weights
from inlay.recipes.objectives.preference.losses.streams import PairLogProbs, UnpairedLogProbs

pytest.importorskip("trl", reason="TRL is not installed; it has an environment of its own")
pytestmark = pytest.mark.filterwarnings("ignore")

PAIRS, TOKENS = 5, 9


def batch(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Token log-probabilities of policy and reference and the mask, ``[2 * PAIRS, TOKENS]``: chosen, then rejected."""
    policy, mask = answers(2 * PAIRS, TOKENS, seed=seed)
    reference = policy - torch.randn(policy.shape, generator=torch.Generator().manual_seed(seed)) * mask / 4
    return policy.requires_grad_(), reference, mask


def rows(policy: Tensor, reference: Tensor, mask: Tensor) -> PairLogProbs:
    chosen, rejected = policy.sum(dim=1).chunk(2)
    ref_chosen, ref_rejected = reference.sum(dim=1).chunk(2)
    chosen_tokens, rejected_tokens = mask.sum(dim=1).chunk(2)
    return PairLogProbs(
        chosen=chosen,
        rejected=rejected,
        ref_chosen=ref_chosen,
        ref_rejected=ref_rejected,
        chosen_tokens=chosen_tokens,
        rejected_tokens=rejected_tokens,
    )


def dpo_of_trl(policy: Tensor, ref_sums: Tensor, mask: Tensor, **fields: Any) -> Tensor:
    from trl.trainer.dpo_trainer import DPOTrainer

    ref_chosen, ref_rejected = ref_sums.chunk(2)
    first = torch.zeros(len(mask), 1, dtype=torch.long)
    inputs = {
        "input_ids": torch.zeros(len(mask), TOKENS + 1, dtype=torch.long),
        "attention_mask": torch.ones(len(mask), TOKENS + 1),
        "completion_mask": torch.cat([first, mask.long()], dim=1),
        "ref_chosen_logps": ref_chosen,
        "ref_rejected_logps": ref_rejected,
    }
    own = trainer(**({"loss_weights": [1.0]} | fields))
    return DPOTrainer._compute_loss(own, model_of(policy), inputs, False)


def assert_same(own: Tensor, theirs: Tensor, policy: Tensor) -> None:
    """Equal losses and equal gradients with respect to the log-probability of every answer token."""
    torch.testing.assert_close(own, theirs, rtol=1e-6, atol=1e-9)
    inside = policy.detach() != 0
    gradients = [torch.autograd.grad(loss, policy, retain_graph=True)[0][inside] for loss in (own, theirs)]
    assert any(gradient.any() for gradient in gradients)
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "smoothing"),
    [
        ("sigmoid", None),
        ("hinge", None),
        ("ipo", None),
        ("exo_pair", 0.01),
        ("nca_pair", None),
        ("robust", 0.2),
        ("bco_pair", None),
        ("sppo_hard", None),
        ("aot", 0.1),
        ("aot_unpaired", 0.1),
        ("apo_zero", None),
        ("apo_down", None),
        ("discopop", None),
        ("sigmoid_norm", None),
    ],
)
@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_losses_of_pairs(name: str, smoothing: float | None, beta: float, seed: int) -> None:
    policy, reference, mask = batch(seed)
    settings = {"beta": beta} | ({} if smoothing is None else {"label_smoothing": smoothing})
    own = preference_loss(name, **settings)(rows(policy, reference, mask)).mean()
    theirs = dpo_of_trl(policy, reference.sum(dim=1), mask, loss_types=[name], **settings)
    assert_same(own, theirs, policy)


def test_the_supervised_term() -> None:
    policy, reference, mask = batch(0)
    theirs = dpo_of_trl(policy, reference.sum(dim=1), mask, loss_types=["sft"])
    assert_same(preference_loss("sft")(rows(policy, reference, mask)).mean(), theirs, policy)


def test_mpo() -> None:
    policy, reference, mask = batch(1)
    theirs = dpo_of_trl(
        policy,
        reference.sum(dim=1),
        mask,
        loss_types=["sigmoid", "bco_pair", "sft"],
        loss_weights=[0.8, 0.2, 1.0],
    )
    assert_same(preference_loss("mpo")(rows(policy, reference, mask)).mean(), theirs, policy)


@pytest.mark.parametrize("name", ["sigmoid", "hinge", "ipo", "robust", "exo_pair", "discopop", "sigmoid_norm"])
@pytest.mark.parametrize(
    ("divergence", "theirs"), [("forward_kl", "forward_kl"), ("js", "js_divergence"), ("alpha", "alpha_divergence")]
)
def test_f_divergences(name: str, divergence: str, theirs: str) -> None:
    policy, reference, mask = (value.float() if value.is_floating_point() else value for value in batch(2))
    policy = policy.detach().requires_grad_()  # TRL's alpha divergence knows no float64
    settings = {"beta": 0.3} | ({"label_smoothing": 0.1} if name in ("robust", "exo_pair") else {})
    own = preference_loss(name, divergence=divergence, alpha=0.5, **settings)(rows(policy, reference, mask)).mean()
    other = dpo_of_trl(policy, reference.sum(dim=1), mask, loss_types=[name], f_divergence_type=theirs, **settings)
    torch.testing.assert_close(own, other, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_ld_dpo(alpha: float) -> None:
    policy, reference, mask = batch(3)
    ids = [torch.zeros(int(length)) for length in mask.sum(dim=1)]
    weights = mask.to(policy.dtype)
    for pair in zip(range(PAIRS), range(PAIRS, 2 * PAIRS), strict=True):
        for row, own_weights in zip(pair, token_weights(*(ids[row] for row in pair), tail=alpha), strict=True):
            weights[row, mask[row]] = own_weights.to(policy.dtype)
    weighted, reference_sums = (policy * weights).sum(dim=1), (reference * weights).sum(dim=1)
    own = preference_loss("sigmoid")(rows(weighted[:, None], reference_sums[:, None], mask)).mean()
    assert_same(own, dpo_of_trl(policy, reference_sums, mask, loss_types=["sigmoid"], ld_alpha=alpha), policy)


@pytest.mark.parametrize(("name", "theirs"), [("kto", "kto"), ("apo_zero_unpaired", "apo_zero_unpaired")])
@pytest.mark.parametrize("shift", [0.4, -0.4])
def test_losses_of_single_answers(name: str, theirs: str, shift: float) -> None:
    from trl.trainer.kto_trainer import KTOTrainer

    policy, reference, mask = batch(4)
    label = torch.arange(len(mask)) % 3 == 0
    mismatched = policy.detach().sum(dim=1)
    inputs = {
        "input_ids": torch.zeros(len(mask), TOKENS + 1, dtype=torch.long),
        "attention_mask": torch.ones(len(mask), TOKENS + 1),
        "completion_mask": torch.cat([torch.zeros(len(mask), 1).long(), mask.long()], dim=1),
        "label": label,
        "ref_logps": reference.sum(dim=1),
        "ref_KL_logps": mismatched - shift,
    }
    weights = {"desirable_weight": 1.2, "undesirable_weight": 0.7}
    stub = trainer(
        loss_type=theirs, calculate_KL=name == "kto", _compute_kl_logps=lambda model, batch: mismatched, **weights
    )
    other = KTOTrainer._compute_loss(stub, model_of(policy), inputs, False)
    from inlay.recipes.objectives.preference.losses.kto import kl_estimate

    single = UnpairedLogProbs(
        answer=policy.sum(dim=1),
        ref_answer=reference.sum(dim=1),
        desirable=label,
        kl=kl_estimate(mismatched, mismatched - shift),
    )
    assert_same(preference_loss(name, **weights)(single).mean(), other, policy)


def test_simpo() -> None:
    from trl.experimental.cpo import CPOTrainer

    policy, reference, mask = batch(5)
    pairs = rows(policy, reference, mask)
    stub = SimpleNamespace(
        alpha=0.0, loss_type="simpo", simpo_gamma=0.8, beta=2.5, label_smoothing=0.0, accelerator=ONE_PROCESS
    )
    losses, *_ = CPOTrainer.cpo_loss(stub, pairs.chosen / pairs.chosen_tokens, pairs.rejected / pairs.rejected_tokens)
    assert_same(preference_loss("simpo", beta=2.5, gamma=0.8)(pairs).mean(), losses.mean(), policy)


def test_cpo() -> None:
    from trl.experimental.cpo import CPOTrainer

    policy, reference, mask = batch(6)
    pairs = rows(policy, reference, mask)
    stub = SimpleNamespace(alpha=0.0, loss_type="sigmoid", beta=0.1, label_smoothing=0.0, accelerator=ONE_PROCESS)
    losses, *_ = CPOTrainer.cpo_loss(stub, pairs.chosen, pairs.rejected)
    nll = -policy[:PAIRS][mask[:PAIRS]].mean()  # nn.CrossEntropyLoss over the labels of the chosen answers
    assert_same(preference_loss("cpo", alpha=0.5)(pairs).mean(), losses.mean() + 0.5 * nll, policy)


def test_the_odds_term_of_orpo() -> None:
    from trl.experimental.orpo import ORPOTrainer

    policy, reference, mask = (value.float() if value.is_floating_point() else value for value in batch(7))
    policy = policy.detach().requires_grad_()  # TRL computes the odds in float32
    pairs = rows(policy, reference, mask)
    stub = SimpleNamespace(beta=1.0, accelerator=ONE_PROCESS)
    ratios, *_ = ORPOTrainer.odds_ratio_loss(
        stub, pairs.chosen / pairs.chosen_tokens, pairs.rejected / pairs.rejected_tokens
    )
    own = preference_loss("orpo").odds_term(pairs)
    torch.testing.assert_close(own, -ratios)
