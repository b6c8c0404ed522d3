"""The losses of stage 1 against slow references, and false pairs that are never true."""

from __future__ import annotations

import math

import pytest
import torch

from inlay.recipes.objectives.qformer_contrastive.losses import contrast_loss, generation_loss, hard_negatives, matches


def slow_cross_entropy(scores: list[float], target: list[float], smoothing: float) -> float:
    """Of one row, number by number."""
    total = sum(math.exp(score) for score in scores)
    smooth = [(1 - smoothing) * share + smoothing / len(scores) for share in target]
    return -sum(share * math.log(math.exp(score) / total) for share, score in zip(smooth, scores, strict=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_contrast_equals_a_slow_reference(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    to_texts, to_images = (torch.randn(3, 4, generator=generator) for _ in range(2))
    same = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]).bool()
    target = [[0.5, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0]]
    rows = [
        slow_cross_entropy(scores, share, smoothing)
        for table in (to_texts, to_images)
        for scores, share in zip(table.tolist(), target, strict=True)
    ]
    assert contrast_loss(to_texts, to_images, same, smoothing).item() == pytest.approx(sum(rows) / 6, abs=1e-6)


def test_without_duplicates_the_contrast_is_that_of_class_numbers() -> None:
    scores = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    numbers = torch.arange(5)
    one = torch.nn.functional.cross_entropy(scores, numbers, label_smoothing=0.1)
    two = torch.nn.functional.cross_entropy(scores.T, numbers, label_smoothing=0.1)
    ours = contrast_loss(scores, scores.T, torch.eye(5).bool(), 0.1)
    torch.testing.assert_close(ours, (one + two) / 2)


def test_generation_equals_a_slow_reference() -> None:
    logits = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(2))
    ids = torch.tensor([[1, 3, 2, 0], [1, 4, 5, 2]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    rows = []
    for row in range(2):
        for place in range(3):
            if mask[row, place + 1]:
                target = [float(word == ids[row, place + 1]) for word in range(6)]
                rows.append(slow_cross_entropy(logits[row, place].tolist(), target, 0.1))
    assert len(rows) == 5
    assert generation_loss(logits, ids, mask, 0.1).item() == pytest.approx(sum(rows) / 5, abs=1e-6)


def test_false_partner_is_never_the_true_one_nor_its_double() -> None:
    owners = torch.tensor([0, 1, 2, 0, 4])
    texts = torch.tensor([[5, 2], [6, 2], [5, 2], [7, 2], [8, 2]])
    same = matches(owners, texts, owners, texts)
    # Picture 0 is also picture 3; text 0 is also text 2.
    assert same.int().tolist() == [[1, 0, 1, 1, 0], [0, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
    scores = torch.where(same, 50.0, 0.0)  # What is true scores highest by far.
    torch.manual_seed(0)
    for _ in range(200):
        rows, partners = hard_negatives(scores, same)
        assert rows.tolist() == [0, 1, 2, 3, 4]
        assert not same[rows, partners].any()


def test_harder_partners_come_as_often_as_their_softmax_says() -> None:
    scores = torch.tensor([[9.0, 0.0, math.log(3.0)]]).expand(4000, 3)
    same = torch.tensor([[True, False, False]]).expand(4000, 3)
    torch.manual_seed(1)
    _, partners = hard_negatives(scores, same)
    assert (partners == 2).float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_batch_of_one_double_has_no_false_partner() -> None:
    rows, partners = hard_negatives(torch.zeros(2, 2), torch.ones(2, 2).bool())
    assert len(rows) == len(partners) == 0
