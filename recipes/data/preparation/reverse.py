"""Reverses captioned media: from the caption to the medium, the first training data of the output side.

NExT-GPT (Wu et al., 2023, https://arxiv.org/abs/2309.05519) aligns its output side on the captions of the same pairs
that align its input side. Only the latent diffusion loss reads the medium itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from inlay.adapters.conversation.messages import MadePart, Message, Part, TextPart, media_of
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["reversed_pair", "reversed_pairs"]


def reversed_pairs(samples: Sequence[Sample], *, echo: bool = False) -> list[Sample]:
    """One sample for each medium, see :func:`reversed_pair`.

    Example:
        >>> from inlay.adapters.conversation.messages import parse_messages
        >>> messages = parse_messages([
        ...     {"role": "user", "content": [{"type": "audio", "path": "7.wav"}]},
        ...     {"role": "assistant", "content": "rain"}])
        >>> turned = reversed_pairs([Sample("7", messages, "pairs.json, item 0")])[0].messages
        >>> turned[0].text, turned[1].content[0].caption
        ('rain', 'rain')
    """
    return [reversed_pair(sample, echo=echo) for sample in samples]


def reversed_pair(sample: Sample, *, echo: bool = False) -> Sample:
    """The caption as the user's turn; the assistant generates the medium.

    Args:
        sample: a captioned medium, with one medium and one answer.
        echo: whether the assistant repeats the caption in front of the medium, as in NExT-GPT's released code.

    Raises:
        DataError: a sample with no medium, several, or several turns; or preference data.
    """
    if sample.rejected or sample.desirable is not None:
        raise DataError(f"{sample.origin}: preference data cannot be reversed; set samples.direction to as_is")
    media = media_of(sample.messages)
    answers = [message for message in sample.messages if message.role == "assistant"]
    if len(media) != 1 or len(answers) != 1 or not answers[0].text.strip():
        raise DataError(
            f"{sample.origin}: expected one medium and one caption, got {len(media)} and "
            f"{len(answers)}; name a file of captioned media"
        )
    caption = answers[0].text.strip()
    made: tuple[Part, ...] = (MadePart(media[0].modality, caption, media[0].source),)
    said = (TextPart(caption), *made) if echo else made
    messages = (Message("user", (TextPart(caption),)), Message("assistant", said))
    return Sample(sample.id, messages, sample.origin, kinds=(media[0].modality,))
