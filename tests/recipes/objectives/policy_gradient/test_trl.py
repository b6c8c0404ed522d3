"""The policy loss beside TRL's GRPOTrainer and RLOOTrainer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trl_stubs import ONE_PROCESS, answers, trainer

from inlay.recipes.objectives.policy_gradient.policy_loss import PolicySettings, SampledAnswers, policy_loss

pytest.importorskip("trl", reason="TRL is not installed; it has an environment of its own")
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS, TOKENS = 6, 9


def sampled(seed: int) -> SampledAnswers:
    log_probs, mask = answers(ROWS, TOKENS, seed=seed)
    generator = torch.Generator().manual_seed(seed)

    def near() -> torch.Tensor:
        return log_probs + 0.4 * torch.randn(log_probs.shape, generator=generator, dtype=torch.float64) * mask

    return SampledAnswers(
        old_log_probs=near(),
        ref_log_probs=near(),
        log_probs=log_probs.requires_grad_(),
        mask=mask,
        advantages=torch.randn(ROWS, generator=generator, dtype=torch.float64),
    )


def trl_inputs(batch: SampledAnswers) -> dict[str, Any]:
    empty = torch.zeros(ROWS, 0, dtype=torch.long)
    return {
        "prompt_ids": empty,
        "prompt_mask": empty,
        "completion_ids": torch.zeros(ROWS, TOKENS, dtype=torch.long),
        "completion_mask": batch.mask.long(),
        "advantages": batch.advantages,
        "old_per_token_logps": batch.old_log_probs,
        "ref_per_token_logps": batch.ref_log_probs,
        "num_items_in_batch": batch.mask.sum(),
    }


def stub(batch: SampledAnswers, **fields: Any) -> SimpleNamespace:
    entropies = torch.zeros(ROWS, TOKENS)
    return trainer(
        _get_per_token_logps_and_entropies=lambda *_, **__: (batch.log_probs, entropies, None),
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        epsilon_low=0.2,
        epsilon_high=0.28,
        use_vllm=False,
        current_gradient_accumulation_steps=1,
        max_completion_length=16,
        _entropy_bonus_enabled=False,
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        accelerator=ONE_PROCESS,
        **fields,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kl_weight", [0.0, 0.04])
@pytest.mark.parametrize("averaging", ["grpo", "dapo", "dr_grpo"])
def test_grpo(averaging: Any, kl_weight: float, seed: int) -> None:
    from trl.trainer.grpo_trainer import GRPOTrainer

    batch = sampled(seed)
    settings = PolicySettings(averaging=averaging, clip_high=0.28, kl_weight=kl_weight, max_tokens=16)
    losses, figures = policy_loss(batch, settings)
    own = stub(batch, beta=kl_weight, loss_type=averaging)
    theirs = GRPOTrainer._compute_loss(own, None, trl_inputs(batch))
    torch.testing.assert_close(losses.mean(), theirs)
    gradients = [torch.autograd.grad(loss, batch.log_probs, retain_graph=True)[0] for loss in (losses.mean(), theirs)]
    torch.testing.assert_close(*gradients)
    logged, means = own._metrics["train"], figures.means()
    assert means["clip_low"] == pytest.approx(logged["clip_ratio/low_mean"][0])
    assert means["clip_high"] == pytest.approx(logged["clip_ratio/high_mean"][0])
    assert means["clip_share"] == pytest.approx(logged["clip_ratio/region_mean"][0])
    if kl_weight:
        assert means["kl"] == pytest.approx(logged["kl"][0])


@pytest.mark.parametrize("seed", range(3))
def test_rloo(seed: int) -> None:
    from trl.trainer.rloo_trainer import RLOOTrainer

    batch = sampled(seed)
    inputs = trl_inputs(batch) | {"old_logps": batch.old_log_probs.sum(dim=1)}
    theirs = RLOOTrainer._compute_loss(stub(batch), None, inputs)
    own = policy_loss(batch, PolicySettings(averaging="rloo", clip_high=0.28))[0].mean()
    torch.testing.assert_close(own, theirs)
    gradients = [torch.autograd.grad(loss, batch.log_probs, retain_graph=True)[0] for loss in (own, theirs)]
    torch.testing.assert_close(*(gradient[batch.mask] for gradient in gradients))
