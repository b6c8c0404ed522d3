"""One preference row as token ids: the conversations for the LLM, and the stream of each.

Conversations with the same prompt and medium become branches of one row, so that the prompt is computed once. A branch
is a *stream*: ``chosen``, ``rejected``, ``chosen_other_image``, ... of
:mod:`~inlay.recipes.objectives.preference.losses`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, media_of
from inlay.adapters.core.branches import join_branches, last_answer
from inlay.adapters.core.encode import Encoded
from inlay.adapters.language.labels import IGNORE
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["Other", "PairRow", "encode_pair", "with_media"]

Other = Callable[[MediaPart], MediaPart]
"""Function from a medium to the other medium of a loss that compares two."""


@dataclass(frozen=True, slots=True)
class PairRow:
    """One preference row, encoded."""

    rows: tuple[Encoded, ...]
    """The rows for the LLM."""
    streams: tuple[str, ...]
    """The stream of each sequence (row or branch), in their order."""
    name: str = ""
    """The sample's id."""
    desirable: bool | None = None
    """Of a single answer."""

    @property
    def answers(self) -> dict[str, Tensor]:
        """Stream -> the ids ``[n]`` of its labelled tokens."""
        found: list[Tensor] = []
        for row in self.rows:
            labels = row.labels if row.target is None else row.target
            start = sum(row.branches[:1])
            for length in row.branches[1:] or (len(labels),):
                piece = labels[start : start + length]
                found.append(piece[piece != IGNORE])
                start += length
        return dict(zip(self.streams, found, strict=True))


def encode_pair(
    model: AttachedModel,
    sample: Sample,
    layout: Layout,
    streams: Sequence[str],
    *,
    other: Other | None = None,
    mismatched: Message | None = None,
    join: bool = True,
) -> PairRow:
    """Encode one preference row.

    Args:
        model: the attached model.
        sample: a sample with ``rejected``, or with ``desirable``.
        layout: the layout of the conversations.
        streams: the streams to compute.
        other: function that returns the other medium.
        mismatched: the answer of another sample, for KTO's estimate of the divergence.
        join: compute the prompt of several answers once, if the model supports branches.

    Raises:
        DataError: the sample lacks an answer that a stream needs, or two answers are equal as tokens.
    """
    found: list[Encoded] = []
    names: list[str] = []
    for group in _groups(sample, streams, other, mismatched):
        asked = next(iter(group.values()))[:-1]  # the same for the whole group
        prompt = model.encode(asked, layout=layout, generation=True)
        rows = [
            last_answer(model.encode(messages, layout=layout, name=sample.id), prompt) for messages in group.values()
        ]
        joined = join_branches(rows, model.backbone.llm.context) if join and len(rows) > 1 else None
        found += rows if joined is None else [joined]
        names += group
    pair = PairRow(tuple(found), tuple(names), sample.id, sample.desirable)
    answers = pair.answers
    same_media = media_of(sample.messages) == media_of(sample.rejected)
    if same_media and "rejected" in answers and answers["chosen"].tolist() == answers["rejected"].tolist():
        raise DataError(f"{sample.origin}: chosen and rejected are the same tokens; remove the pair")
    return pair


def _groups(
    sample: Sample, streams: Sequence[str], other: Other | None, mismatched: Message | None
) -> Iterator[Mapping[str, tuple[Message, ...]]]:
    """Conversations with one prompt and one medium, by stream."""
    prompt, answer = sample.messages[:-1], sample.messages[-1]
    if sample.rejected:
        first = {"chosen": sample.messages, "rejected": sample.rejected}
    elif sample.desirable is None:
        raise DataError(
            f"{sample.origin}: expected a pair (chosen and rejected) or a label of the answer, got a plain conversation"
        )
    elif "chosen" in streams:
        raise DataError(f"{sample.origin}: this loss compares two answers, got one with a label; use loss kto")
    else:
        first = {"answer": sample.messages}
        if mismatched is not None and "mismatched" in streams:
            first["mismatched"] = (*prompt, mismatched)
    if "answer" in streams and sample.rejected:
        raise DataError(f"{sample.origin}: this loss reads single answers with a label, got a pair")
    second: dict[str, tuple[Message, ...]] = {}
    if "second_answer" in streams:
        if not sample.similar:
            raise DataError(
                f"{sample.origin}: this loss needs a similar medium with its own answer (fields image_2 and y2)"
            )
        elsewhere = sample.similar[:-1]
        first["second_answer"] = (*prompt, sample.similar[-1])
        second = {"chosen_other_image": (*elsewhere, answer), "second_answer_other_image": sample.similar}
    elif "chosen_other_image" in streams:
        if other is None or not media_of(prompt):
            raise DataError(f"{sample.origin}: this loss compares two media, and the row has none; remove it")
        second = {"chosen_other_image": (*with_media(prompt, other), answer)}
    if sample.rejected and sample.rejected[:-1] != prompt:  # the rejected answer has its own media
        yield {"rejected": first.pop("rejected")}
    yield first
    if second:
        yield second


def with_media(messages: Sequence[Message], other: Other) -> tuple[Message, ...]:
    """A conversation with other input media."""
    return tuple(
        replace(
            message, content=tuple(other(part) if isinstance(part, MediaPart) else part for part in message.content)
        )
        for message in messages
    )
