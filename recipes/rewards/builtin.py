"""The built-in rewards: exact and VQA answers, options, yes or no, objects, length."""

from __future__ import annotations

from collections.abc import Mapping

from inlay.recipes.data.rows.sample import Question, Sample
from inlay.recipes.evaluation.metrics.choice import choice_score, chosen_option, options_of
from inlay.recipes.evaluation.metrics.exact_match import exact_match
from inlay.recipes.evaluation.metrics.pope import says_yes
from inlay.recipes.evaluation.metrics.vqa_accuracy import vqa_accuracy
from inlay.recipes.rewards.object_mentions import mentioned
from inlay.recipes.rewards.registry import Reward

__all__ = ["built_in", "length_score", "objects_score"]


def built_in(classes: Mapping[str, str], min_words: int, max_words: int) -> dict[str, Reward]:
    """The built-in rewards by name.

    Args:
        classes: word or phrase -> object class, for ``objects``; may be empty if it is not used.
        min_words: limit of ``length``.
        max_words: limit of ``length``.
    """
    return {
        "exact": Reward(score=lambda question, answer, _: exact_match(answer, question.answers), problem=_no_answer),
        "vqa": Reward(score=lambda question, answer, _: vqa_accuracy(answer, question.answers), problem=_no_answer),
        "choice": Reward(
            score=lambda question, answer, _: choice_score(answer, question.prompt[-1].text, question.reference),
            problem=_no_option,
        ),
        "pope": Reward(score=_pope, problem=_not_yes_or_no),
        "objects": Reward(
            score=lambda question, answer, sample: objects_score(
                mentioned(answer, classes), {*mentioned(_annotations(question, sample), classes)}
            ),
            problem=lambda question, _: (
                "" if mentioned(" . ".join(question.answers), classes) else "the reference answer names no object"
            ),
            tokens=64,
        ),
        "length": Reward(
            score=lambda _, answer, __: length_score(len(answer.split()), min_words, max_words), tokens=64
        ),
    }


def objects_score(mentions: list[str], present: set[str]) -> float:
    """Recall of the objects in the picture, minus the share of mentions that are not in it; from -1 to 1.

    CHAIR (Rohrbach et al., 2018, https://arxiv.org/abs/1809.02156) alone rewards silence; with recall an answer without
    objects has 0, like one that is half right.

    Example:
        >>> objects_score(["dog", "cat"], {"dog", "ball"}), objects_score([], {"dog"}), objects_score(["dog"], {"dog"})
        (0.0, 0.0, 1.0)
    """
    if not mentions:
        return 0.0
    recall = len(present & set(mentions)) / max(1, len(present))
    return recall - sum(name not in present for name in mentions) / len(mentions)


def length_score(words: int, least: int, most: int) -> float:
    """0 within the limits, down to -1 the further an answer is outside of them.

    Example:
        >>> [length_score(words, 2, 10) for words in (1, 5, 15, 100)]
        [-0.5, 0.0, -0.5, -1.0]
    """
    beyond = (least - words) / max(1, least) if words < least else max(0, words - most) / most
    return -min(1.0, beyond) if beyond else 0.0


def _annotations(question: Question, sample: Sample) -> str:
    """All texts about the medium: reference, human answers and description."""
    return " . ".join((question.reference, *question.answers, sample.description))


def _pope(question: Question, answer: str, _: Sample) -> float:
    return float(says_yes(answer) == (_label(question) == "yes"))


def _no_answer(question: Question, _: Sample) -> str:
    return "" if any(answer.strip() for answer in question.answers) else "there is no reference answer"


def _no_option(question: Question, _: Sample) -> str:
    options = options_of(question.prompt[-1].text)
    if not options:
        return "the question lists no options such as 'A. red'"
    return "" if chosen_option(question.reference, options) else f"{question.reference!r} is none of the options"


def _not_yes_or_no(question: Question, _: Sample) -> str:
    return "" if _label(question) in ("yes", "no") else f"the reference answer is {question.reference!r}, not yes or no"


def _label(question: Question) -> str:
    return question.reference.strip().rstrip(".").lower()
