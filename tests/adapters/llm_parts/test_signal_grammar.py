"""Signal tokens come in whole groups, while they are written and where they are found."""

from __future__ import annotations

import pytest
import torch

from inlay.adapters.llm_parts.signal_grammar import SignalGrammar
from inlay.adapters.llm_parts.signal_tokens import SignalError, Signals, locate


def test_grammar_lets_only_whole_groups_through() -> None:
    grammar = SignalGrammar(Signals(ids={"image": (6, 7, 8), "audio": (9,)}))
    scores = torch.zeros(3, 10)
    start = grammar(torch.zeros(3, 0, dtype=torch.long), scores)
    assert start[0].isinf().nonzero().flatten().tolist() == [7, 8]
    after = grammar(torch.tensor([[6], [7], [8]]), scores)
    assert after[0].isfinite().nonzero().flatten().tolist() == [7]
    assert after[1].isfinite().nonzero().flatten().tolist() == [8]
    assert after[2].isinf().nonzero().flatten().tolist() == [7, 8]


def test_broken_groups_are_an_error() -> None:
    assert locate(torch.tensor([[1, 2]]), (7, 8)).shape == (0, 2)
    for row in ([7, 1, 8], [8, 7], [1, 2, 7], [7, 8, 8]):
        with pytest.raises(SignalError, match="all 2 signal tokens"):
            locate(torch.tensor([row]), (7, 8))
