"""Held-out questions: the adapter's answers, and the answers of two references.

*Blind* is the same model without the media, whose score can be reached by guessing from the question. The *oracle* is
the LLM without an adapter, which reads a text description of the media: the score of a lossless adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.rank_answers import rank_answers
from inlay.adapters.chat.replies import encode_all
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import Message, TextPart, media_of
from inlay.adapters.conversation.turn_end import turn_end
from inlay.adapters.core.batch import collate
from inlay.adapters.core.encode import encode
from inlay.adapters.language.generation.stopping import FinishReason
from inlay.adapters.media.sources import EncodedMedium
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.rows.sample import Question, Sample, questions_of
from inlay.recipes.distributed.ranks import world
from inlay.recipes.evaluation.batches import in_batches, planned_size

__all__ = [
    "Answered",
    "Asked",
    "answer_all",
    "answer_blind",
    "answer_oracle",
    "as_rows",
    "ask",
    "asked_of",
    "blind",
]

MAX_NEW_TOKENS = 16
RANKED = 32
"""Default number of question-candidate pairs per forward pass."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with its answer."""

    question: Question
    said: str
    name: str = ""
    """The sample's id."""
    finish_reason: FinishReason = "stop"
    """``length``: the answer was cut off at the limit of new tokens."""


Asked: TypeAlias = tuple[Question, tuple[Message, ...], str]
"""A question, the conversation to answer, and the sample's id."""


def asked_of(samples: Iterable[Sample]) -> list[Asked]:
    """Every assistant turn of the samples as a question."""
    return [(question, question.prompt, sample.id) for sample in samples for question in questions_of(sample)]


def blind(asked: Iterable[Asked]) -> list[Asked]:
    """The questions without their media."""
    return [(question, _without_media(prompt), name) for question, prompt, name in asked]


def answer_all(
    model: AttachedModel,
    samples: Sequence[Sample],
    *,
    layout: Layout | None = None,
    features: FeatureCache | None = None,
    **options: Any,
) -> list[Answered]:
    """The attached model's answers to all questions of the samples; see :func:`ask`."""
    return ask(model, asked_of(samples), layout=layout, features=features, **options)


def answer_blind(model: AttachedModel, samples: Sequence[Sample], **options: Any) -> list[Answered]:
    """The attached model's answers to the questions without their media."""
    return ask(model, blind(asked_of(samples)), **options)


def answer_oracle(
    backbone: Backbone,
    layout: Layout,
    samples: Sequence[Sample],
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    batch_size: int | None = None,
    shared: bool = False,
    show: Callable[[str], None] = print,
) -> list[Answered]:
    """The answers of the LLM without an adapter, with each sample's description instead of its first medium.

    Args:
        backbone: a backbone without an adapter.
        layout: the adapter's layout.
        samples: samples without a description or a medium are left out.
        max_new_tokens: maximum tokens of an answer.
        batch_size: as in :func:`ask`.
        shared: as in :func:`ask`.
        show: prints a line if memory runs out.
    """
    llm = backbone.llm
    seen = [sample for sample in samples if sample.description and media_of(sample.messages)]
    told = {sample.id: llm.tokenizer(sample.description, add_special_tokens=False).input_ids for sample in seen}
    asked = [(q, _first_medium(q.prompt), sample.id) for sample in seen for q in questions_of(sample)]
    rows = [
        encode(prompt, layout, llm, {media_of(prompt)[0].modality: len(told[name])}, generation=True, name=name)
        for _, prompt, name in asked
    ]
    if not rows:
        return []
    end = turn_end(layout, llm.tokenizer)
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number].ids))
    size = batch_size or planned_size(llm, len(rows[order[0]].ids), max_new_tokens)

    def answer(numbers: Sequence[int], _: int) -> list[tuple[str, FinishReason]]:
        batch = collate([rows[number] for number in numbers], llm.pad_id, "left").to(llm.device)
        embeddings = llm.embed(batch.ids)
        words = torch.tensor([token for number in numbers for token in told[asked[number][2]]], device=llm.device)
        embeddings[batch.slots] = llm.embed(words)
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "do_sample": False}
        written = llm.generate(embeddings, batch.mask, stop=end.texts, stop_ids=end.ids, **options)
        return [(llm.decode(ids, stop=end.texts), why) for ids, why in zip(written.rows, written.finish, strict=True)]

    said = in_batches(order, _even(size, len(rows)) if shared else size, answer, shared=shared, show=show)
    return [Answered(item[0], text, item[2], why) for item, (text, why) in zip(asked, said, strict=True)]


def as_rows(answered: Sequence[Answered], root: Path) -> list[dict[str, Any]]:
    """Plain values for a file, sorted by sample; paths of media below ``root`` are relative to it."""
    rows = []
    for item in sorted(answered, key=lambda item: item.name):
        media = [part for part in media_of(item.question.prompt) if isinstance(part.source, (str, Path, EncodedMedium))]
        files = [(part.modality, _named(part.source, root.absolute())) for part in media]
        image = next((file for modality, file in files if modality == "image"), None)
        rows.append(
            {
                "id": item.name,
                "type": item.question.kind,
                "image": image,
                "media": [{"modality": modality, "file": file} for modality, file in files],
                "question": item.question.prompt[-1].text,
                "said": item.said,
                "finish_reason": item.finish_reason,
                "reference": item.question.reference,
                "answers": list(item.question.answers),
            }
        )
    return rows


def _named(source: str | Path | EncodedMedium, root: Path) -> str:
    """The path, relative to `root` if it is below it; of a medium in memory its digest."""
    if isinstance(source, EncodedMedium):
        return str(source)
    path = Path(source)
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def ask(
    model: AttachedModel,
    asked: Sequence[Asked],
    *,
    layout: Layout | None = None,
    features: FeatureCache | None = None,
    candidates: Sequence[str] = (),
    batch_size: int | None = None,
    shared: bool = False,
    show: Callable[[str], None] = print,
    **options: Any,
) -> list[Answered]:
    """The attached model's answer to each prompt, in the order of the questions.

    Args:
        model: the attached model.
        asked: questions, conversations to answer, and names.
        layout: the adapter's layout if not given.
        features: cache of frozen features.
        candidates: the answer is the most likely of these; without them the model generates one.
        batch_size: questions per batch; if not given, as many as the memory allows, and at most 64. It is halved if
            memory runs out.
        shared: divide the questions among the processes, all of which call this; each gets all answers.
        show: prints a line if memory runs out.
        options: generation options; greedy and at most 16 tokens by default.

    Raises:
        EvaluationError: out of memory with a single question.
    """
    if not asked:
        return []
    chosen, options = layout or model.adapter.layout, {"max_new_tokens": MAX_NEW_TOKENS} | options
    # Similar lengths together, for little padding; the longest first, because they need most memory.
    lengths = [sum(len(message.text) for message in prompt) for _, prompt, _ in asked]
    order = sorted(range(len(asked)), key=lambda number: -lengths[number])
    size = batch_size or _planned(model, asked[order[0]], chosen, options)

    def answer(numbers: Sequence[int], size: int) -> list[tuple[str, FinishReason]]:
        prompts, names = [asked[number][1] for number in numbers], [asked[number][2] for number in numbers]
        cached = features if any(media_of(prompt) for prompt in prompts) else None
        if candidates:
            pairs = min(size, batch_size or RANKED)
            ranked = rank_answers(model, prompts, candidates, layout=layout, features=cached, batch_size=pairs)
            return [(row[0].text, "stop") for row in ranked]
        return _written(model, prompts, chosen, cached, names, options)

    with model.inference():
        said = in_batches(order, _even(size, len(asked)) if shared else size, answer, shared=shared, show=show)
    return [Answered(item[0], text, item[2], why) for item, (text, why) in zip(asked, said, strict=True)]


def _written(
    model: AttachedModel,
    prompts: Sequence[Sequence[Message]],
    layout: Layout,
    features: FeatureCache | None,
    names: Sequence[str],
    options: dict[str, Any],
) -> list[tuple[str, FinishReason]]:
    """Generated texts with their finish reasons."""
    with model.held():
        rows = encode_all(model, prompts, layout, names)
        batch = model.collate(rows, layout=layout, generation=True, features=features).to(model.backbone.device)
        end = model.turn_end(layout)
        written = model.write(model.embeddings(batch), batch.mask, end=end, **options)
        texts = [layout.reply(model.backbone.llm.decode(ids, stop=end.texts)) for ids in written.rows]
    return list(zip(texts, written.finish, strict=True))


def _planned(model: AttachedModel, longest: Asked, layout: Layout, options: Mapping[str, Any]) -> int:
    row = model.encode(longest[1], layout=layout, generation=True, name=longest[2])
    beams = int(options.get("num_beams") or 1)
    return planned_size(model.backbone.llm, len(row.ids), int(options["max_new_tokens"]), beams=beams)


def _even(size: int, count: int) -> int:
    """A batch size that gives every process a batch, if there are enough items."""
    return max(1, min(size, -(-count // world())))


def _without_media(prompt: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(
        replace(message, content=tuple(part for part in message.content if isinstance(part, TextPart)))
        for message in prompt
    )


def _first_medium(prompt: Sequence[Message]) -> tuple[Message, ...]:
    """The prompt with only its first medium, which the description replaces."""
    first = media_of(prompt)[:1]
    return tuple(
        replace(message, content=tuple(part for part in message.content if isinstance(part, TextPart) or part in first))
        for message in prompt
    )
