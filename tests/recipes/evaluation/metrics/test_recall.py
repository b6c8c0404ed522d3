"""Recall@k of retrieval, beside torchmetrics' hit rate."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.retrieval import RetrievalHitRate

from inlay.recipes.evaluation.metrics import MetricError, RetrievalRecall, recall_at_k


def hit_rate(scores: Tensor, own: Tensor, k: int) -> float:
    """The share of rows with an own column among the k best."""
    rows = torch.arange(len(scores))[:, None].expand_as(scores)
    metric = RetrievalHitRate(top_k=min(k, scores.shape[1]))
    return float(metric(scores.flatten(), own.flatten(), indexes=rows.flatten()))


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 12), st.integers(0, 1000))
def test_it_is_the_hit_rate_in_both_directions(images: int, each: int, k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    owners = torch.arange(images).repeat(each)[torch.randperm(images * each, generator=generator)]
    scores = torch.randperm(images * images * each, generator=generator).view(images, -1).float()  # no ties
    own = owners[None, :] == torch.arange(images)[:, None]
    assert recall_at_k(scores, owners, ks=[k]) == pytest.approx(
        {f"image_to_text@{k}": hit_rate(scores, own, k), f"text_to_image@{k}": hit_rate(scores.T, own.T, k)}
    )


SCORES = torch.tensor([[0.9, 0.1, 0.3], [0.2, 0.8, 0.7]])
OWNERS = torch.tensor([0, 1, 0])


def test_one_caption_of_several_is_enough() -> None:
    assert recall_at_k(torch.tensor([[0.9, 0.5, 0.1], [0.2, 0.8, 0.1]]), OWNERS, ks=[1])["image_to_text@1"] == 1


def test_perfect_scores_find_everything() -> None:
    assert set(recall_at_k(torch.eye(4), torch.arange(4)).values()) == {1.0}


def test_scores_that_are_all_the_same_find_nothing() -> None:
    found = recall_at_k(torch.zeros(20, 20), torch.arange(20), ks=[1, 10, 20])
    assert found == {f"{way}@{k}": float(k == 20) for way in ("image_to_text", "text_to_image") for k in (1, 10, 20)}


def test_own_captions_do_not_stand_in_each_others_way() -> None:
    assert recall_at_k(torch.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]), OWNERS, ks=[1])["image_to_text@1"] == 1


def test_more_than_there_are_finds_everything() -> None:
    assert set(recall_at_k(SCORES, OWNERS, ks=[10]).values()) == {1.0}


def test_the_other_direction_may_have_scores_of_its_own() -> None:
    own = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert recall_at_k(SCORES, OWNERS, ks=[1], text_scores=own)["text_to_image@1"] == 1


@pytest.mark.parametrize(
    ("scores", "owners", "told"),
    [
        (torch.zeros(2), OWNERS, "expected scores"),
        (torch.zeros(2, 0), torch.zeros(0, dtype=torch.int64), "none of them empty"),
        (SCORES, torch.tensor([0, 1]), "expected scores"),
        (SCORES, torch.tensor([0, 1, 2]), "from 0 to 1"),
        (SCORES, torch.tensor([0, 1, -1]), "from 0 to 1"),
        (SCORES, torch.tensor([0.0, 1.0, 0.0]), "whole numbers"),
        (SCORES, torch.tensor([0, 0, 0]), r"1 of 2 pictures have no caption, the first is row 1"),
        (SCORES.masked_fill(SCORES > 0.85, torch.nan), OWNERS, "got nan"),
    ],
)
def test_what_does_not_fit_is_an_error(scores: Tensor, owners: Tensor, told: str) -> None:
    with pytest.raises(MetricError, match=told):
        recall_at_k(scores, owners)


@pytest.mark.parametrize("ks", [[], [0], [1, -1]])
def test_k_is_at_least_one(ks: list[int]) -> None:
    with pytest.raises(MetricError, match="ks: expected"):
        recall_at_k(SCORES, OWNERS, ks=ks)


def test_batches_may_come_in_any_order_and_from_two_processes() -> None:
    first, second = RetrievalRecall(OWNERS, ks=[1]), RetrievalRecall(OWNERS, ks=[1])
    first.update(SCORES[1:], [1])
    second.update(SCORES[:1], [0])
    first.merge_state(second)
    assert {name: value.item() for name, value in first.compute().items()} == recall_at_k(SCORES, OWNERS, ks=[1])


@pytest.mark.parametrize("images", [[0, 0], [1, 2]])
def test_every_picture_comes_once(images: list[int]) -> None:
    metric = RetrievalRecall(OWNERS)
    metric.update(SCORES, images)
    with pytest.raises(MetricError, match="every picture once"):
        metric.compute()


def test_a_batch_has_a_row_a_picture_and_a_column_a_caption() -> None:
    with pytest.raises(MetricError, match=r"expected scores \[1, 3\]"):
        RetrievalRecall(OWNERS).update(SCORES, [0])
