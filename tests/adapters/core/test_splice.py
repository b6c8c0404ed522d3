"""Splicing: the fast tensor functions against slow loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inlay.adapters.core.splice import SpliceError, insert
from inlay.adapters.language.labels import IGNORE, labelled_rows, pad


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=4), st.integers(0, 99))
def test_insert_equals_a_loop_over_positions(pattern: list[list[bool]], seed: int) -> None:
    slots = pad([torch.tensor(row) for row in pattern], False, "right")
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(*slots.shape, 3, generator=generator)
    features = torch.randn(int(slots.sum()), 3, generator=generator)
    expected = embeddings.clone()
    rest = iter(features)
    for row in range(slots.shape[0]):
        for column in range(slots.shape[1]):
            if slots[row, column]:
                expected[row, column] = next(rest)
    assert torch.equal(insert(embeddings, slots, features), expected)


def test_insert_lets_gradients_into_the_features_only_at_slots() -> None:
    features = torch.randn(2, 3, requires_grad=True)
    slots = torch.tensor([[True, False, True]])
    insert(torch.zeros(1, 3, 3), slots, features).sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad, torch.ones(2, 3))


def test_count_mismatch_names_samples_and_both_numbers() -> None:
    slots = torch.tensor([[True, True], [True, False]])
    with pytest.raises(SpliceError, match=r"expected 3 features .*\(cat: 2, dog: 1\), got 2"):
        insert(torch.zeros(2, 2, 3), slots, torch.ones(2, 3), ["cat", "dog"])


def test_a_count_mismatch_of_unnamed_samples_has_no_empty_names() -> None:
    with pytest.raises(SpliceError, match="of this batch, got 1"):
        insert(torch.zeros(1, 2, 3), torch.tensor([[True, True]]), torch.zeros(1, 3), [""])


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(SpliceError, match=r"expected features \[2, 3\].*got \[2, 4\]: the projector's output"):
        insert(torch.zeros(1, 2, 3), torch.tensor([[True, True]]), torch.zeros(2, 4))


def test_labelled_rows_point_one_position_ahead() -> None:
    labels = torch.tensor([[IGNORE, 5, 6, IGNORE], [IGNORE, IGNORE, IGNORE, 9]])
    rows, targets = labelled_rows(labels)
    assert rows.nonzero().tolist() == [[0, 0], [0, 1], [1, 2]]
    assert targets.tolist() == [5, 6, 9]
