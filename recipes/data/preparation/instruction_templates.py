"""Instruction templates: several wordings of one request, so that a model does not learn a single wording.

InstructBLIP (Dai et al., 2023, https://arxiv.org/abs/2305.06500) puts one of several templates around each question
and in front of each caption; MiniGPT-4 (Zhu et al., 2023, https://arxiv.org/abs/2304.10592) requests its descriptions
in four wordings. The wordings are our own, except BLIP-2's two prompts for questions and its prompt for captions.
BLIP-2 and InstructBLIP also normalise the text of questions and captions, as LAVIS' text processors do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.sample import DataError

__all__ = ["CAPTION", "DESCRIBE", "QUESTION", "blip_caption", "blip_question", "choose", "fill"]

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
"""Templates of a question with a short answer; ``{}`` is the question."""

CAPTION = (
    "a photo of",
    "Write a short caption.",
    "A caption for this picture:",
    "In one sentence, what does the picture show?",
    "Say briefly what can be seen here.",
    "What is in this picture? Answer in one sentence.",
    "Give the picture a short description.",
)
"""Requests for a short caption."""

DESCRIBE = (
    "Tell me in detail what this picture shows.",
    "Look closely and describe everything that you see.",
    "Please write a full description of the picture.",
    "What is going on here? Take a whole paragraph.",
)
"""Requests for a long description."""

_MARKS = re.compile(r"[.!\"()*#:;~]")
_SPACES = re.compile(r"\s{2,}")


def blip_question(text: str, words: int = 50) -> str:
    """A question in lower case, without ``.!"()*#:;~``, cut to a number of words.

    Example:
        >>> blip_question('How many "cats" are there (in total)?')
        'how many cats are there in total?'
    """
    return _first(_MARKS.sub("", text.lower()).rstrip(" "), words)


def blip_caption(text: str, words: int = 50) -> str:
    """A caption in lower case, the same marks replaced by spaces, runs of white space by one space.

    Example:
        >>> blip_caption("Two cats. On a sofa!")
        'two cats on a sofa'
    """
    spaced = _SPACES.sub(" ", _MARKS.sub(" ", text.lower()))
    return _first(spaced.rstrip("\n").strip(" "), words)


def _first(text: str, words: int) -> str:
    parts = text.split(" ")
    return " ".join(parts[:words]) if len(parts) > words else text


def fill(template: str, words: str) -> str:
    """Insert the user's words into a template.

    Args:
        template: with one ``{}`` for the words, or with none if there are no words.
        words: inserted unchanged; braces in them are plain text.

    Raises:
        DataError: words without ``{}``, ``{}`` without words, or more than one ``{}``.

    Example:
        >>> fill("Question: {} Short answer:", "How many {x}?")
        'Question: How many {x}? Short answer:'
    """
    if template.count("{}") != bool(words):
        wanted = "one {}" if words else "no {}, as there are no words to insert"
        raise DataError(f"expected a template with {wanted}, got {shown(template)}")
    return template.replace("{}", words)


def choose(templates: Sequence[str], name: str, *, seed: int, visit: int = 0) -> str:
    """One of several templates, determined by name, seed and visit alone.

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
