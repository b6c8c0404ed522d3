"""Multiple choice: the share of questions with the right option.

The question lists the options, one per line with a letter (``A. red``, ``(B) blue``), as in ScienceQA, MMBench and
SEED-Bench; the reference is a letter or an option's text. A generated answer chooses the option whose letter it begins
with or names (``The answer is B.``), otherwise the option with equal text. If the candidates are given separately, the
model ranks them and the best one is compared with the reference.
"""

from __future__ import annotations

import re

from inlay.recipes.evaluation.metrics.exact_match import exact_match

__all__ = ["choice_score", "chosen_option", "options_of"]

_OPTION = re.compile(r"(?m)^\s*\(?([A-Z])[.):]\s*(\S.*?)\s*$")
_BEGINS = re.compile(r"^\(?([A-Z])(?:[.):,]|\s*$)")
_NAMED = re.compile(r"(?i:\b(?:answer|option)(?: is|:))\s*\(?([A-Z])\b")


def options_of(question: str) -> dict[str, str]:
    r"""Letter -> text of the options in a question; empty for fewer than two, or if the letters are not A, B, ...

    Example:
        >>> options_of("Which colour?\nA. red\nB. blue\nAnswer with the option's letter.")
        {'A': 'red', 'B': 'blue'}
    """
    found = dict(_OPTION.findall(question))
    letters = [chr(ord("A") + place) for place in range(len(found))]
    return found if len(found) > 1 and list(found) == letters else {}


def chosen_option(answer: str, options: dict[str, str]) -> str | None:
    """The letter that an answer chooses; None for no option.

    Example:
        >>> options = {"A": "red", "B": "blue"}
        >>> [chosen_option(text, options) for text in ("B", "(A) red", "The answer is B.", "Blue.", "a square")]
        ['B', 'A', 'B', 'B', None]
    """
    text = answer.strip()
    letter = _BEGINS.match(text) or _NAMED.search(text)
    if letter and letter[1] in options:
        return letter[1]
    return next((name for name, option in options.items() if exact_match(text, [option])), None)


def choice_score(prediction: str, question: str, reference: str) -> float:
    r"""1 if the right option is chosen, else 0.

    Args:
        prediction: the model's answer.
        question: text with options; without options, prediction and reference are compared as texts.
        reference: a letter, or an option's text.

    Example:
        >>> choice_score("B", "Which?\nA. red\nB. blue", "blue")
        1.0
    """
    options = options_of(question)
    right = chosen_option(reference, options) if options else None
    if right is None:
        return exact_match(prediction, [reference])
    return float(chosen_option(prediction, options) == right)
