"""The built-in rewards: exact and VQA answers, options, yes or no, objects, length."""

from __future__ import annotations

from inlay.recipes.data.rows.sample import Question, Sample
from inlay.recipes.evaluation.metrics.choice import choice_score, chosen_option, options_of
from inlay.recipes.evaluation.metrics.exact_match import exact_match
from inlay.recipes.evaluation.metrics.hallucination.chair import caption_objects
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary
from inlay.recipes.evaluation.metrics.pope import says_yes
from inlay.recipes.evaluation.metrics.vqa_accuracy import vqa_accuracy
from inlay.recipes.rewards.registry import Reward

__all__ = ["built_in", "length_score", "objects_score"]


def built_in(vocabulary: ObjectVocabulary | None, min_words: int, max_words: int) -> dict[str, Reward]:
    """The built-in rewards by name.

    Args:
        vocabulary: the object classes; without them there is no reward ``objects``.
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
        **({} if vocabulary is None else {"objects": _objects_of(vocabulary)}),
        "length": Reward(
            score=lambda _, answer, __: length_score(len(answer.split()), min_words, max_words), tokens=64
        ),
    }


def objects_score(answer: str, vocabulary: ObjectVocabulary, *annotations: str) -> float:
    """Recall of the objects in the picture, minus the share of mentions that are not in it; from -1 to 1.

    CHAIR (Rohrbach et al., 2018, https://arxiv.org/abs/1809.02156) alone is best for an empty answer. With recall an
    answer without objects has 0, and so has an answer with one of two objects and one hallucinated object.

    Args:
        answer: the model's answer.
        vocabulary: the object classes.
        annotations: texts about the picture, which name all its objects.

    Example:
        >>> animals = ObjectVocabulary.of(["dog", "cat", "cow"])
        >>> [objects_score(text, animals, "a dog and a cow") for text in ("a dog, a cow", "a dog", "", "a cat")]
        [1.0, 0.5, 0.0, -1.0]
    """
    found = caption_objects(answer, (), vocabulary, annotations)
    recall = len(found.found) / max(1, len(found.present))
    return recall - len(found.hallucinated) / max(1, len(found.mentioned))


def length_score(words: int, least: int, most: int) -> float:
    """0 within the limits, and down to -1 with the distance from them.

    Example:
        >>> [length_score(words, 2, 10) for words in (1, 5, 15, 100)]
        [-0.5, 0.0, -0.5, -1.0]
    """
    beyond = (least - words) / max(1, least) if words < least else max(0, words - most) / most
    return -min(1.0, beyond) if beyond else 0.0


def _objects_of(vocabulary: ObjectVocabulary) -> Reward:
    def score(question: Question, answer: str, sample: Sample) -> float:
        return objects_score(answer, vocabulary, question.reference, *question.answers, sample.description)

    def problem(question: Question, _: Sample) -> str:
        named = any(vocabulary.mentions(text) for text in question.answers)
        return "" if named else "the reference answer names no object"

    return Reward(score=score, problem=problem, tokens=64)


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
