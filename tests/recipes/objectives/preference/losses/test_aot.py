"""AOT, whose rows are ranks."""

from __future__ import annotations

import torch
from preference_rows import random_pairs

from inlay.recipes.objectives.preference.losses.aot import Aot, AotUnpaired
from inlay.recipes.objectives.preference.losses.dpo import Sigmoid

PERMUTED = [3, 0, 5, 1, 4, 2]


def test_one_pair_is_dpo() -> None:
    pairs = random_pairs(1)
    for kind in (Aot, AotUnpaired):
        torch.testing.assert_close(kind(label_smoothing=0.1)(pairs), Sigmoid(label_smoothing=0.1)(pairs))


def test_margins_are_compared_rank_by_rank() -> None:
    pairs = random_pairs()
    policy = sorted((pairs.chosen - pairs.rejected).tolist())
    reference = sorted((pairs.ref_chosen - pairs.ref_rejected).tolist())
    expected = torch.tensor([a - b for a, b in zip(policy, reference, strict=True)], dtype=torch.float64)
    torch.testing.assert_close(Aot().difference(pairs), expected)


def test_the_order_of_pairs_is_irrelevant() -> None:
    pairs = random_pairs()
    permuted = type(pairs)(**{name: None if value is None else value[PERMUTED] for name, value in vars(pairs).items()})
    torch.testing.assert_close(Aot()(permuted), Aot()(pairs))


def test_unpaired_answers_may_be_shuffled_separately() -> None:
    pairs = random_pairs()
    shuffled = random_pairs(
        **{**vars(pairs), "rejected": pairs.rejected[PERMUTED], "ref_rejected": pairs.ref_rejected[PERMUTED]}
    )
    torch.testing.assert_close(AotUnpaired()(shuffled), AotUnpaired()(pairs))
    assert not torch.allclose(Aot()(shuffled), Aot()(pairs))
