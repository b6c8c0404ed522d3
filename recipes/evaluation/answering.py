"""Held-out questions: the adapter's answers beside two references that tell what they are worth.

*Blind* asks the same model without the picture: what guessing from the question gives. The *oracle* is the bare LLM
reading the scene as text: what the LLM could answer if the picture were perfectly translated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.rank_answers import rank_answers
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import Message, TextPart, media_of
from inlay.adapters.conversation.turn_end import turn_end
from inlay.adapters.core.batch import collate
from inlay.adapters.core.encode import encode
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.rows.sample import Question, Sample, questions_of
from inlay.recipes.evaluation.caption_scores import aligned
from inlay.recipes.evaluation.metrics.vqa_accuracy import VQAAccuracy

__all__ = [
    "Answered",
    "Asked",
    "Column",
    "Scores",
    "answer_all",
    "answer_blind",
    "answer_oracle",
    "as_rows",
    "ask",
    "asked_of",
    "blind",
    "score",
    "score_table",
]

BATCH = 64
MAX_NEW_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with what was said to it."""

    question: Question
    said: str
    name: str = ""
    """The sample's id."""


@dataclass(frozen=True)
class Scores:
    """VQA accuracy, 0 to 1."""

    overall: float
    by_type: dict[str, float]
    count: dict[str, int]
    by_modality: dict[str, float] = field(default_factory=dict)
    """What is asked about: pictures, sounds, clips; empty where all questions are about one of them."""


Asked: TypeAlias = tuple[Question, tuple[Message, ...], str]
"""A question, the conversation that the model is given, and the sample's id."""


def asked_of(samples: Iterable[Sample]) -> list[Asked]:
    """Every assistant turn of the samples as a question."""
    return [(question, question.prompt, sample.id) for sample in samples for question in questions_of(sample)]


def blind(asked: Iterable[Asked]) -> list[Asked]:
    """The same questions without their media."""
    return [(question, _without_media(prompt), name) for question, prompt, name in asked]


def answer_all(
    model: AttachedModel,
    samples: Sequence[Sample],
    *,
    layout: Layout | None = None,
    features: FeatureCache | None = None,
    **options: Any,
) -> list[Answered]:
    """Ask the attached model every question of the samples; see :func:`ask`."""
    return ask(model, asked_of(samples), layout=layout, features=features, **options)


def answer_blind(model: AttachedModel, samples: Sequence[Sample], **options: Any) -> list[Answered]:
    """The same questions without their media."""
    return ask(model, blind(asked_of(samples)), **options)


def answer_oracle(
    backbone: Backbone, layout: Layout, samples: Sequence[Sample], *, max_new_tokens: int = MAX_NEW_TOKENS
) -> list[Answered]:
    """The bare LLM, reading each sample's description in the very place of the picture.

    Args:
        backbone: with nothing attached.
        layout: the adapter's.
        samples: those without a description or without a medium are left out.
        max_new_tokens: of an answer.
    """
    llm = backbone.llm
    seen = [sample for sample in samples if sample.description and media_of(sample.messages)]
    told = {sample.id: llm.tokenizer(sample.description, add_special_tokens=False).input_ids for sample in seen}
    asked = [(q, _first_medium(q.prompt), sample.id) for sample in seen for q in questions_of(sample)]
    answered = []
    for group in _groups(asked):
        rows = [
            encode(prompt, layout, llm, {media_of(prompt)[0].modality: len(told[name])}, generation=True, name=name)
            for _, prompt, name in group
        ]
        batch = collate(rows, llm.pad_id, "left").to(llm.device)
        embeddings = llm.embed(batch.ids)
        words = torch.tensor([token for _, _, name in group for token in told[name]], device=llm.device)
        embeddings[batch.slots] = llm.embed(words)
        end = turn_end(layout, llm.tokenizer)
        ids = llm.generate(
            embeddings,
            batch.mask,
            stop=end.texts,
            stop_ids=end.ids,
            max_new_tokens=max_new_tokens,
            do_sample=False,
        ).rows
        answered += [
            Answered(item[0], llm.decode(row, stop=end.texts), item[2]) for item, row in zip(group, ids, strict=True)
        ]
    return answered


def as_rows(answered: Sequence[Answered], root: Path) -> list[dict[str, Any]]:
    """Plain values for a file, sorted by sample; media below ``root`` are written relative to it."""
    rows = []
    for item in sorted(answered, key=lambda item: item.name):
        media = [part for part in media_of(item.question.prompt) if isinstance(part.source, (str, Path))]
        files = [(part.modality, _below(Path(part.source), root.absolute()).as_posix()) for part in media]
        image = next((file for modality, file in files if modality == "image"), None)
        rows.append(
            {
                "id": item.name,
                "type": item.question.kind,
                "image": image,
                "media": [{"modality": modality, "file": file} for modality, file in files],
                "question": item.question.prompt[-1].text,
                "said": item.said,
                "reference": item.question.reference,
                "answers": list(item.question.answers),
            }
        )
    return rows


def _below(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def score(answered: Sequence[Answered]) -> Scores:
    """VQA accuracy (leave-one-out over the human answers), overall, by question type and by modality."""
    overall, by_type = _accuracy(answered, [item.question.kind or "other" for item in answered])
    seen = [next((part.modality for part in media_of(item.question.prompt)), "text") for item in answered]
    by_modality = _accuracy(answered, seen)[1] if len(set(seen)) > 1 else {}
    return Scores(overall, by_type, _counted([item.question.kind or "other" for item in answered]), by_modality)


def _accuracy(answered: Sequence[Answered], kinds: Sequence[str]) -> tuple[float, dict[str, float]]:
    known = sorted(set(kinds))
    metric = VQAAccuracy(kinds=known)
    metric.update([item.said for item in answered], [item.question.answers for item in answered], list(kinds))
    figures = {key: float(value) for key, value in metric.compute().items()}
    return figures["overall"], {kind: figures[kind] for kind in known}


def _counted(kinds: Sequence[str]) -> dict[str, int]:
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


Column: TypeAlias = Literal["adapter", "blind", "oracle"]


def score_table(columns: dict[Column, Scores]) -> str:
    """Question types down, then what is asked about if that differs; columns across, in percent.

    Example:
        >>> print(score_table({"adapter": Scores(0.75, {"count": 0.75}, {"count": 4})}))
        type     questions  adapter
        count            4     75.0
        overall          4     75.0
    """
    first = next(iter(columns.values()))
    rows = [("type", "questions", *columns)]
    for kind, number in first.count.items():
        rows.append((kind, str(number), *(f"{100 * s.by_type.get(kind, float('nan')):.1f}" for s in columns.values())))
    for modality in first.by_modality:
        shown = (f"{100 * s.by_modality.get(modality, float('nan')):.1f}" for s in columns.values())
        rows.append((f"all of {modality}", "", *shown))
    rows.append(("overall", str(sum(first.count.values())), *(f"{100 * s.overall:.1f}" for s in columns.values())))
    return aligned(rows)


def ask(
    model: AttachedModel,
    asked: Sequence[Asked],
    *,
    layout: Layout | None = None,
    features: FeatureCache | None = None,
    candidates: Sequence[str] = (),
    **options: Any,
) -> list[Answered]:
    """What the attached model says to each prompt; the order of what comes back is not that of the questions.

    Args:
        model: attached.
        asked: questions, the conversations to answer, and names.
        layout: the adapter's if not given.
        features: frozen features, if they are cached.
        candidates: the likeliest of these is the answer; without them the model writes one.
        options: of decoding; greedily and 16 tokens at most if there are none.
    """
    was_training = model.adapter.training
    model.adapter.eval()
    answered = []
    for group in _groups(asked):
        prompts, names = [prompt for _, prompt, _ in group], [name for _, _, name in group]
        cached = features if any(media_of(prompt) for prompt in prompts) else None
        if candidates:
            ranked = rank_answers(model, prompts, candidates, layout=layout, features=cached)
            said = [row[0].text for row in ranked]
        else:
            chosen = {"max_new_tokens": MAX_NEW_TOKENS} | options
            said = model.answer(prompts, layout=layout, features=cached, names=names, **chosen)
        answered += [Answered(item[0], text, item[2]) for item, text in zip(group, said, strict=True)]
    model.adapter.train(was_training)
    return answered


def _groups(asked: Sequence[Asked]) -> list[list[Asked]]:
    """Batches of questions of similar length, so that little is padding; the order does not change any answer."""
    by_length = sorted(asked, key=lambda item: sum(len(message.text) for message in item[1]))
    return [by_length[start : start + BATCH] for start in range(0, len(by_length), BATCH)]


def _without_media(prompt: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(
        replace(message, content=tuple(part for part in message.content if isinstance(part, TextPart)))
        for message in prompt
    )


def _first_medium(prompt: Sequence[Message]) -> tuple[Message, ...]:
    """The prompt with its first medium, whose place the description takes; other media are left out."""
    first = media_of(prompt)[:1]
    return tuple(
        replace(message, content=tuple(part for part in message.content if isinstance(part, TextPart) or part in first))
        for message in prompt
    )
