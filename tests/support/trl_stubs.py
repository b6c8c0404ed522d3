"""Stand-ins around TRL's trainers, whose losses are inside methods: each method runs with a model that returns given
log-probabilities, and an accelerator of one process."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor


def _same(value: Tensor, **_: Any) -> Tensor:
    return value


ONE_PROCESS = SimpleNamespace(
    device=torch.device("cpu"), num_processes=1, gather=_same, gather_for_metrics=_same, reduce=_same
)


def trainer(**fields: Any) -> SimpleNamespace:
    """The attributes that the loss of a trainer reads."""
    given = {
        "model": SimpleNamespace(training=True),
        "accelerator": ONE_PROCESS,
        "precompute_ref_logps": True,
        "aux_loss_enabled": False,
        "use_weighting": False,
        "args": SimpleNamespace(discopop_tau=0.05, delta=None, use_bias_correction_kl=False),
        "ld_alpha": None,
        "f_divergence_type": "reverse_kl",
        "f_alpha_divergence_coef": 0.5,
        "beta": 0.1,
        "label_smoothing": 0.0,
        "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**(given | fields))


def model_of(token_log_probs: Tensor) -> Any:
    """A model whose forward pass gives these log-probabilities ``[B, T]`` of the labels."""
    zeros = torch.zeros_like(token_log_probs)

    def forward(**_: Any) -> SimpleNamespace:
        return SimpleNamespace(log_probs=token_log_probs, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())

    return forward


def answers(rows: int, tokens: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities ``[rows, tokens]`` in float64, 0 outside answers, and the mask; each answer has at least 3."""
    generator = torch.Generator().manual_seed(seed)
    begins = torch.randint(0, 3, (rows, 1), generator=generator)
    ends = torch.randint(6, tokens + 1, (rows, 1), generator=generator)
    places = torch.arange(tokens)
    mask = (places >= begins) & (places < ends)
    return -2 * torch.rand(rows, tokens, generator=generator, dtype=torch.float64) * mask, mask
