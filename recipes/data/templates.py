"""Instruction templates: many ways to say one thing, so that a model learns to follow instructions and not one wording.

InstructBLIP (Dai et al., 2023, https://arxiv.org/abs/2305.06500) puts one of several templates around each question
and in front of each caption; MiniGPT-4 (Zhu et al., 2023, https://arxiv.org/abs/2304.10592) asks for its descriptions
in a few ways. The wordings are ours, except for BLIP-2's two prompts for questions and its prompt for captions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from inlay.adapters.conversation.messages import MediaPart, Message, Part, TextPart
from inlay.hub.safety.text import shown
from inlay.recipes.data.sample import DataError, Sample

__all__ = ["CAPTION", "DESCRIBE", "QUESTION", "choose", "fill", "instructed"]

QUESTION = (
    "{}",
    "Question: {} Short answer:",
    "Question: {} Answer:",
    "Look at the picture. {} Answer in a word or two.",
    "{} Give a short answer.",
    "Here is a question about the picture: {} The answer is",
    "Someone asks about this picture: {} What do you reply?",
    "Using what can be seen, answer briefly: {}",
    "Q: {} A:",
)
"""Around a question that has a short answer; ``{}`` is the question."""

CAPTION = (
    "a photo of",
    "Write a short caption.",
    "A caption for this picture:",
    "In one sentence, what does the picture show?",
    "Say briefly what can be seen here.",
    "What is in this picture? Answer in one sentence.",
    "Give the picture a short description.",
)
"""In front of a short caption."""

DESCRIBE = (
    "Tell me in detail what this picture shows.",
    "Look closely and describe everything that you see.",
    "Please write a full description of the picture.",
    "What is going on here? Take a whole paragraph.",
)
"""In front of a long description."""


def fill(template: str, words: str) -> str:
    """A template with the user's own words in it.

    Args:
        template: with one ``{}`` for the words, or with none if there are no words.
        words: may hold braces; nothing in them is looked at.

    Raises:
        DataError: words without a place, a place without words, or two places.

    Example:
        >>> fill("Question: {} Short answer:", "How many {x}?")
        'Question: How many {x}? Short answer:'
    """
    if template.count("{}") != bool(words):
        wanted = "one {}" if words else "no {}, as there are no words to put there"
        raise DataError(f"expected a template with {wanted}, got {shown(template)}")
    return template.replace("{}", words)


def choose(templates: Sequence[str], name: str, *, seed: int, visit: int = 0) -> str:
    """One of several templates: the same for the same name, seed and visit, in every process and at any time.

    Raises:
        DataError: no templates.

    Example:
        >>> [choose(CAPTION, "7", seed=0, visit=visit) == choose(CAPTION, "7", seed=0) for visit in range(4)]
        [True, False, False, True]
    """
    if not templates:
        raise DataError("expected at least one template, got none")
    digest = hashlib.sha256(f"{seed} {visit} {name}".encode()).digest()
    return templates[int.from_bytes(digest[:8], "big") % len(templates)]


def instructed(sample: Sample, templates: Sequence[str], *, seed: int = 0, visit: int = 0) -> Sample:
    """The sample with a template around what the user says, in every turn the same one.

    Args:
        sample: what the user says is the question, or nothing but a picture.
        templates: to choose from.
        seed: of the choice.
        visit: how often the sample came before; each time another template may be chosen.

    Raises:
        DataError: no template, or one that does not fit to what the user says.

    Example:
        >>> from inlay.recipes.data.records import described
        >>> sample = described("7", "1.png", "How many?", "two", "")
        >>> instructed(sample, ["Question: {} Short answer:"]).messages[0].text
        'Question: How many? Short answer:'
    """
    template = choose(templates, sample.id, seed=seed, visit=visit)
    turns = [_turn(message, template) if message.role == "user" else message for message in sample.messages]
    return replace(sample, messages=tuple(turns))


def _turn(message: Message, template: str) -> Message:
    media: list[Part] = [part for part in message.content if isinstance(part, MediaPart)]
    return replace(message, content=(*media, TextPart(fill(template, message.text))))
