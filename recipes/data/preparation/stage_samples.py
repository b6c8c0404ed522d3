"""Converts the samples of a file to those of a stage: split dialogues, wordings, sampled answers, cut captions.

The result is a pure function of the sample, the stage, the seed and the number of the batch. So a sample may vary from
visit to visit, and a resumed run has the same variants as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from inlay.adapters.conversation.messages import Message, Part, TextPart, made_of, media_of
from inlay.recipes.data.preparation.instruction_templates import (
    CAPTION,
    DESCRIBE,
    QUESTION,
    blip_caption,
    blip_question,
    choose,
    fill,
)
from inlay.recipes.data.preparation.reverse import reversed_pair
from inlay.recipes.data.rows.sample import Sample, is_preference
from inlay.recipes.data.rows.tables.sequences import Converted, split
from inlay.recipes.settings.stage import Stage

__all__ = ["apart", "expanded", "phrased", "varied", "with_words"]

NO_QUESTION = ("caption", "instruction", "talk")
"""Types of turns in which the user's text is an instruction already."""


def expanded(samples: Sequence[Sample], stage: Stage) -> Sequence[Sample]:
    """Apply the changes that are the same in every epoch: split turns, phrasing, direction of captioned media.

    Each sample is changed when it is used, so that a large file is not held in memory.
    """
    rows = split(samples, apart) if stage.samples.turns == "apart" else samples
    if stage.samples.phrasing != "as_is":
        rows = Converted(rows, partial(phrased, stage=stage))
    echo = stage.samples.direction == "echo"
    return rows if stage.samples.direction == "as_is" else Converted(rows, partial(reversed_pair, echo=echo))


def apart(sample: Sample) -> list[Sample]:
    """Split a dialogue into one sample for each answered question, with all media of the dialogue in front.

    Preference data are not split: only their last answers are compared.

    Example:
        >>> from inlay.adapters.conversation.messages import parse_messages
        >>> turns = [("user", "colour?"), ("assistant", "red"), ("user", "shape?"), ("assistant", "disc")]
        >>> messages = parse_messages([{"role": role, "content": text} for role, text in turns])
        >>> [(row.id, row.messages[0].text) for row in apart(Sample("7", messages, ""))]
        [('7/1', 'colour?'), ('7/2', 'shape?')]
    """
    head = [message for message in sample.messages if message.role == "system"]
    turns = [message for message in sample.messages if message.role != "system"]
    if len(turns) == 2 or is_preference(sample):
        return [sample]
    media: tuple[Part, ...] = media_of(sample.messages)
    rows = []
    for turn, (asked, said) in enumerate(zip(turns[::2], turns[1::2], strict=True)):
        if not said.text.strip() and not made_of([said]):
            continue
        question = replace(asked, content=(*media, TextPart(asked.text)))
        rows.append(
            replace(
                sample,
                id=f"{sample.id}/{turn + 1}",
                messages=(*head, question, said),
                kinds=sample.kinds[turn : turn + 1],
                answers=sample.answers[turn : turn + 1],
            )
        )
    return rows


def phrased(sample: Sample, stage: Stage) -> Sample:
    """Convert questions and captions to the stage's phrasing; answers to questions are unchanged."""
    if stage.samples.phrasing == "as_is":
        return sample
    return _each(sample, partial(_phrased, stage=stage))


def _phrased(conversation: Sequence[Message], stage: Stage) -> tuple[Message, ...]:
    messages, caption = [], False
    for message in conversation:
        if message.role == "user":
            caption = not message.text.strip() or stage.data == "align"
            messages.append(message if caption else with_words(message, blip_question(message.text)))
        elif message.role == "assistant" and caption:
            messages.append(with_words(message, blip_caption(message.text) or message.text))
        else:
            messages.append(message)
    return tuple(messages)


def varied(sample: Sample, stage: Stage, *, seed: int, number: int) -> Sample:
    """Apply the changes that vary from visit to visit: the answer, the wording of a question, the place of a cut.

    Args:
        sample: a result of :func:`expanded`.
        stage: selects the changes.
        seed: seed of the run.
        number: number of the batch in the whole stage.
    """
    preference = is_preference(sample)  # Their answers are compared as they are.
    if stage.samples.answers == "sampled" and sample.answers and not preference:
        sample = _answered(sample, seed, number)
    if stage.samples.templates != "none":
        sample = _each(sample, partial(_worded, sample, stage=stage, seed=seed, number=number))
    if stage.samples.split == "random" and not preference:
        sample = _cut(sample, seed, number)
    return sample


def _each(sample: Sample, change: Callable[[tuple[Message, ...]], tuple[Message, ...]]) -> Sample:
    """The sample with all its conversations changed in the same way."""
    return replace(
        sample,
        messages=change(sample.messages),
        rejected=change(sample.rejected),
        similar=change(sample.similar),
    )


def _answered(sample: Sample, seed: int, number: int) -> Sample:
    """Replace each answer by one of the human answers, so that each is trained on as often as it was given."""
    given = iter(sample.answers)
    messages = []
    for message in sample.messages:
        if message.role == "assistant":
            said = [answer for answer in next(given) if answer.strip()]
            message = with_words(message, choose(said, sample.id, seed=seed, visit=number).strip()) if said else message
        messages.append(message)
    return replace(sample, messages=tuple(messages))


def _worded(
    sample: Sample, conversation: Sequence[Message], stage: Stage, seed: int, number: int
) -> tuple[Message, ...]:
    """A conversation of a sample with a request in front of captions, and a template around known questions."""
    messages, turn = [], 0
    for message in conversation:
        if message.role == "user":
            kind = sample.kinds[turn] if sample.kinds else ""
            turn += 1
            words = message.text.strip()
            if not words:
                before = DESCRIBE if stage.samples.templates == "describe" else CAPTION
                message = with_words(message, choose(before, sample.id, seed=seed, visit=number))
            elif stage.samples.templates == "instruct" and kind and kind not in NO_QUESTION:
                message = with_words(message, fill(choose(QUESTION, sample.id, seed=seed, visit=number), words))
        messages.append(message)
    return tuple(messages)


def _cut(sample: Sample, seed: int, number: int) -> Sample:
    """Cut the last answer between two words.

    The first part, which may be empty, replaces the user's text; the rest, at least one word, is the answer.
    """
    *before, asked, said = sample.messages
    words = said.text.split()
    if not words:
        return sample
    digest = hashlib.sha256(f"{seed} {number} {sample.id} cut".encode()).digest()
    place = int.from_bytes(digest[:8], "big") % len(words)
    user = with_words(asked, " ".join(words[:place]))
    return replace(sample, messages=(*before, user, with_words(said, " ".join(words[place:]))))


def with_words(message: Message, text: str) -> Message:
    """The message with another text and the same media."""
    media: tuple[Part, ...] = media_of([message])
    return replace(message, content=(*media, *([TextPart(text)] if text else [])))
