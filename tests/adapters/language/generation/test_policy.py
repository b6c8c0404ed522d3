"""Tokens are drawn from the model's distribution, and never from outside of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from inlay.adapters.language.generation import policy
from inlay.adapters.language.generation.policy import PolicyProcessor, SamplingPolicy, Streams, distribution
from inlay.adapters.language.wiring.protocol import LanguageModelError

SCORES = torch.tensor([[2.0, 1.0, 0.5, -1.0, float("-inf"), 0.0]])


def frequencies(chosen: SamplingPolicy, draws: int = 20_000) -> Tensor:
    """Shares of the tokens that are drawn with evenly spaced numbers."""
    numbers = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    ids = chosen.draw(SCORES.expand(draws, -1), numbers)
    return ids.bincount(minlength=SCORES.shape[1]) / draws


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_shares_are_those_of_the_softmax(temperature: float) -> None:
    found = frequencies(SamplingPolicy(temperature=temperature))
    torch.testing.assert_close(found, (SCORES[0] / temperature).softmax(-1), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("top_k", "top_p"), [(2, None), (None, 0.7), (3, 0.9), (100, 1.0)])
def test_cuts_are_those_of_transformers(top_k: int | None, top_p: float | None) -> None:
    scores = TemperatureLogitsWarper(0.8)(None, SCORES)
    if top_k is not None:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p is not None and top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    found = distribution(SCORES, 0.8, top_k, top_p)
    torch.testing.assert_close((found / found.sum())[0].float(), scores.softmax(-1)[0], atol=1e-6, rtol=0)


def test_forbidden_tokens_are_never_drawn() -> None:
    found = frequencies(SamplingPolicy(forbidden=(0, 5, 999)))
    assert found[[0, 4, 5]].tolist() == [0.0, 0.0, 0.0]
    torch.testing.assert_close(found[1:4], SCORES[0, 1:4].softmax(-1), atol=1e-4, rtol=0)


def test_rows_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    cut, numbers = SamplingPolicy(top_p=0.9), torch.rand(7, dtype=torch.float64)
    whole = cut.draw(SCORES.expand(7, -1), numbers)
    monkeypatch.setattr(policy, "_AT_ONCE", 13)  # two rows of six scores
    assert cut.draw(SCORES.expand(7, -1), numbers).equal(whole)


@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
def test_the_ends_of_the_interval_are_possible_tokens(number: float) -> None:
    scores = torch.tensor([[float("-inf"), 0.0, 0.0, float("-inf")]])
    assert SamplingPolicy().draw(scores, torch.tensor([number], dtype=torch.float64)).item() in (1, 2)


def test_temperature_0_takes_the_most_likely_token_that_is_allowed() -> None:
    assert SamplingPolicy(temperature=0, forbidden=(0,)).draw(SCORES, torch.zeros(1)).tolist() == [1]


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), float("inf")])
def test_scores_that_are_not_finite_stop(value: float) -> None:
    with pytest.raises(LanguageModelError, match="expected finite logits"):
        SamplingPolicy().draw(torch.full((1, 3), value), torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize(
    "fields", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}]
)
def test_settings_out_of_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(LanguageModelError, match=next(iter(fields))):
        SamplingPolicy(**fields)


def test_an_answer_has_its_own_numbers_whatever_the_batch() -> None:
    whole, part = Streams(7, [0, 1, 2], 3, 5), Streams(7, [1], 3, 9)
    rows = torch.tensor([3, 5])
    torch.testing.assert_close(whole.at(4, rows), part.at(4, rows - 3), atol=0, rtol=0)
    assert len(whole.values.unique()) == whole.values.numel()
    assert not (Streams(8, [1], 3, 5).values == whole.values[3:6]).any()


def test_the_processor_records_log_probabilities_before_the_cuts() -> None:
    processor = PolicyProcessor(SamplingPolicy(temperature=0.5, top_k=1), Streams(0, [0], 1, 2))
    scores = processor(torch.zeros(1, 0, dtype=torch.long), SCORES)
    assert scores.isfinite().nonzero().tolist() == [[0, 0]]
    torch.testing.assert_close(processor.steps[0], SCORES.log_softmax(-1)[:, 0])
