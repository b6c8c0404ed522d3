"""The last lines of ``inlay pairs``: what to change if no pair was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.preference_pairs.summary import PairSummary, summary_of


def summary(*items: tuple[str, float]) -> PairSummary:
    done: list[dict[str, Any]] = [
        {"outcome": outcome, "score": score, "cut": 0, "row": {"score_chosen": 1.0, "score_rejected": 0.0}}
        if outcome == "pair"
        else {"outcome": outcome, "score": score, "cut": 0, "row": None}
        for outcome, score in items
    ]
    return summary_of(Path("pairs.jsonl"), done, 0)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([("equal", 1.0)] * 3, "no pairs: 3 questions got the same text in every answer; raise --temperature"),
        ([("tie", 1.0)] * 2, "2 questions got different answers with the same reward (all are right); use harder"),
        ([("tie", 0.0)] * 2, "2 questions got different answers with the same reward (all are wrong); train"),
        ([("tie", 0.0), ("tie", 1.0)], "(0.5 on average); raise --samples, or choose another --reward"),
    ],
)
def test_without_a_pair_it_says_why_and_what_to_change(items: list[tuple[str, float]], said: str) -> None:
    assert said in str(summary(*items))


def test_both_reasons_are_given() -> None:
    assert str(summary(("equal", 0.0), ("tie", 0.0))).count("no pairs: ") == 2


def test_with_a_pair_there_is_no_advice() -> None:
    assert "no pairs" not in str(summary(("pair", 0.5), ("equal", 1.0)))
