"""A reward: the F1 score of the words of an answer and those of the reference.

    inlay pairs runs/llava --import own_reward.py --reward word_f1 --output pairs.jsonl

``score`` maps a question, one sampled answer and the sample to a finite number; more is better. Several rewards are
summed with weights: ``--reward "word_f1,0.2*length"``.
"""

from __future__ import annotations

import re

from inlay.recipes import register_reward
from inlay.recipes.data import Question, Sample


def words(text: str) -> set[str]:
    """Lower-case words without punctuation."""
    return set(re.findall(r"\w+", text.lower()))


def word_f1(question: Question, answer: str, sample: Sample) -> float:
    """1 if the answer has the words of the reference and no others."""
    said, expected = words(answer), words(question.reference)
    return 2 * len(said & expected) / max(1, len(said) + len(expected))


register_reward("word_f1", word_f1)
