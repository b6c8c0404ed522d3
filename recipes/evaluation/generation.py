"""Media generated for held-out prompts: the choice of the modality, and a judge's verdict on the media.

Each figure has two references: media from the generator's own text encoder and the true caption (the upper bound for an
adapter), and media of another prompt's caption (chance).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.reply import Reply
from inlay.adapters.conversation.messages import MadePart, made_of
from inlay.adapters.media.load import Medium
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.rows.sample import Question, Sample, questions_of
from inlay.recipes.evaluation.batches import in_batches
from inlay.recipes.terminal.table import aligned

__all__ = [
    "Answer",
    "Judge",
    "answer_with_media",
    "generation_figures",
    "generation_prompts",
    "generation_rows",
    "generation_table",
    "measure_generation",
    "reference_media",
    "split_generation",
]

_MODALITIES: tuple[Modality, ...] = GENERATED
BATCH = 32
"""Default batch size. The noise of a medium depends on its place in the batch."""
MAX_NEW_TOKENS = 64


class Judge(Protocol):
    """Decides whether a medium agrees with a caption."""

    def __call__(self, caption: str, medium: Medium) -> Mapping[str, bool] | None:
        """Verdicts by attribute, and ``right`` for the whole; None if the caption cannot be judged."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A held-out turn with the model's reply."""

    question: Question
    reply: Reply
    name: str
    """The sample's id."""

    @property
    def chosen(self) -> tuple[Modality, ...]:
        """Modalities of the media in the reply, including those without a generator."""
        return tuple(sorted(part.modality for part in self.reply.parts if isinstance(part, MadePart)))

    @property
    def wanted(self) -> tuple[Modality, ...]:
        """Modalities of the media in the reference; empty for a text answer."""
        return tuple(sorted(part.modality for part in self.question.made))


def split_generation(samples: Sequence[Sample]) -> tuple[Sequence[Sample], list[Sample]]:
    """Samples whose answers are all text, which a metric of answers scores, and those with generated media."""
    making = [sample for sample in samples if made_of(sample.messages)]
    return ([sample for sample in samples if not made_of(sample.messages)] if making else samples), making


def generation_prompts(samples: Iterable[Sample]) -> list[tuple[Question, str]]:
    """Every turn of the samples, including those with text answers, with the sample's id."""
    return [(question, sample.id) for sample in samples for question in questions_of(sample)]


def answer_with_media(
    model: AttachedModel,
    asked: Sequence[tuple[Question, str]],
    *,
    features: FeatureCache | None = None,
    media: Mapping[Modality, Mapping[str, Any]] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    shared: bool = False,
    show: Callable[[str], None] = print,
    **options: Any,
) -> list[Answer]:
    """The attached model's replies, in the order of the questions.

    Args:
        model: the attached model.
        asked: result of :func:`generation_prompts`.
        features: cache of frozen features.
        media: modality -> generation options.
        seed: seed of the initial noise.
        batch_size: prompts per batch, 32 if not given; it is halved if memory runs out.
        shared: divide the batches among the processes, all of which call this; each gets all answers.
        show: prints a line if memory runs out.
        options: text generation options; greedy and at most 64 tokens by default.
    """
    # Similar lengths together, for little padding.
    order = sorted(range(len(asked)), key=lambda n: sum(len(turn.text) for turn in asked[n][0].prompt))
    place = {number: start for start, number in enumerate(order)}
    chosen = {"max_new_tokens": MAX_NEW_TOKENS} | options

    def answer(group: Sequence[int], _: int) -> list[Reply]:
        seeded = {name: {**(media or {}).get(name, {}), "seed": seed + place[group[0]]} for name in _MODALITIES}
        return model.replies(
            [asked[number][0].prompt for number in group],
            features=features,
            names=[asked[number][1] for number in group],
            media=seeded,
            **chosen,
        )

    with model.inference():
        replies = in_batches(order, batch_size or BATCH, answer, shared=shared, show=show)
    return [Answer(question, reply, name) for (question, name), reply in zip(asked, replies, strict=True)]


def reference_media(
    backbone: Backbone,
    captions: Mapping[Modality, Sequence[str]],
    media: Mapping[Modality, Any],
    seed: int = 0,
    *,
    batch_size: int | None = None,
    shared: bool = False,
    show: Callable[[str], None] = print,
) -> dict[Modality, list[Medium]]:
    """Media from each generator's own text encoder.

    Args:
        backbone: has the generators.
        captions: modality -> captions.
        media: modality -> generation options.
        seed: seed of the noise.
        batch_size: as in :func:`answer_with_media`.
        shared: as in :func:`answer_with_media`.
        show: prints a line if memory runs out.
    """

    def make(modality: Modality, group: Sequence[int], _: int) -> list[Medium]:
        generator, options = backbone.generator(modality), {**media.get(modality, {}), "seed": seed + group[0]}
        given = generator.encode_text([captions[modality][number] for number in group])
        return list(generator.generate(given, **options))

    return {
        name: in_batches(range(len(texts)), batch_size or BATCH, partial(make, name), shared=shared, show=show)
        for name, texts in captions.items()
    }


def measure_generation(
    model: AttachedModel,
    asked: Sequence[tuple[Question, str]],
    judge: Judge | None = None,
    *,
    features: FeatureCache | None = None,
    media: Mapping[Modality, Mapping[str, Any]] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    shared: bool = False,
    show: Callable[[str], None] = print,
    **options: Any,
) -> tuple[list[Answer], dict[str, Any]]:
    """Generate the replies and compute their figures; arguments as in the two functions.

    Returns:
        The result of :func:`answer_with_media`, and its :func:`generation_figures`.
    """
    batches: dict[str, Any] = {"batch_size": batch_size, "shared": shared, "show": show}
    answers = answer_with_media(model, asked, features=features, media=media, seed=seed, **batches, **options)
    return answers, generation_figures(answers, judge, model.backbone, media, seed, **batches)


def generation_figures(
    answers: Sequence[Answer],
    judge: Judge | None = None,
    backbone: Backbone | None = None,
    media: Mapping[Modality, Mapping[str, Any]] | None = None,
    seed: int = 0,
    **batches: Any,
) -> dict[str, Any]:
    """Figures of held-out turns.

    Args:
        answers: result of :func:`answer_with_media`.
        judge: judges the media; without one, only the choice of the modality is evaluated.
        backbone: its generators generate the two references; no references without it.
        media: modality -> generation options.
        seed: seed of the references' noise.
        batches: ``batch_size``, ``shared`` and ``show`` of :func:`reference_media`.

    Returns:
        ``choice``: the share of turns whose reply has exactly the modalities of the reference; ``choice_by_type``;
        ``made``: modality -> ``asked``, ``right`` and the judge's other attributes, ``own_encoder`` and
        ``wrong_prompt``.
    """
    rights = [answer.chosen == answer.wanted for answer in answers]
    kinds = ["+".join(answer.wanted) or "text" for answer in answers]
    totals, hits = Counter(kinds), Counter(kind for kind, right in zip(kinds, rights, strict=True) if right)
    figures: dict[str, Any] = {
        "choice": sum(rights) / max(1, len(rights)),
        "choice_by_type": {kind: hits[kind] / totals[kind] for kind in sorted(totals)},
        "made": {},
    }
    if judge is None:
        return figures
    for modality in _MODALITIES:
        rows = [(answer, part) for answer in answers for part in answer.question.made if part.modality == modality]
        rows = [(answer, part) for answer, part in rows if part.caption]
        if not rows or (backbone is not None and modality not in backbone.generators):
            continue
        captions = [part.caption for _, part in rows]
        figures["made"][modality] = {
            "asked": len(rows),
            **_shares(judge, captions, [_first(answer.reply, modality) for answer, _ in rows]),
        }
        if backbone is not None:
            # The same media are judged by their own caption and by another one.
            own = reference_media(backbone, {modality: captions}, media or {}, seed, **batches)[modality]
            figures["made"][modality]["own_encoder"] = _shares(judge, captions, own)["right"]
            figures["made"][modality]["wrong_prompt"] = _shares(judge, _other(captions), own)["right"]
    return figures


def generation_rows(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Plain values for a file: question, reference, reply, and the modalities of both."""
    return [
        {
            "id": answer.name,
            "asked": answer.question.prompt[-1].text,
            "wanted": [{"modality": part.modality, "caption": part.caption} for part in answer.question.made],
            "chosen": list(answer.chosen),
            "said": answer.reply.text,
            "reference": answer.question.reference,
            "missing": list(answer.reply.missing),
        }
        for answer in answers
    ]


def _shares(judge: Judge, captions: Sequence[str], media: Sequence[Medium | None]) -> dict[str, float]:
    """The share of correct media by attribute; a missing medium is wrong in all."""
    marks: list[Mapping[str, bool]] = []
    for caption, medium in zip(captions, media, strict=True):
        found: Mapping[str, bool] | None = {} if medium is None else judge(caption, medium)
        if found is not None:
            marks.append(found)
    names = list(dict.fromkeys(name for mark in marks for name in mark)) or ["right"]
    return {name: sum(mark.get(name, False) for mark in marks) / max(1, len(marks)) for name in names}


def _first(reply: Reply, modality: Modality) -> Medium | None:
    made = (part.source for part in reply.parts if isinstance(part, MadePart) and part.modality == modality)
    return next((source for source in made if source is not None), None)


def _other(captions: Sequence[str]) -> list[str]:
    """For each caption a different one of the list, or itself if there is none."""
    half, count = len(captions) // 2, len(captions)
    found = []
    for number, caption in enumerate(captions):
        further = (captions[(number + half + step) % count] for step in range(count))
        found.append(next((other for other in further if other != caption), caption))
    return found


def generation_table(figures: Mapping[str, Any]) -> str:
    """A table with one row per modality.

    Example:
        >>> one = {"asked": 4, "right": 0.75, "own_encoder": 1.0, "wrong_prompt": 0.25}
        >>> print(generation_table({"choice": 1.0, "made": {"image": one}}))
        generated media, in percent
        made   asked  right  own encoder  wrong prompt
        image      4   75.0        100.0          25.0
        modality chosen rightly: 100.0
    """
    rows = [("made", "asked", "right", "own encoder", "wrong prompt")]
    for modality, own in figures["made"].items():
        shown = (f"{100 * own[name]:.1f}" if name in own else "-" for name in ("right", "own_encoder", "wrong_prompt"))
        rows.append((modality, str(own["asked"]), *shown))
    table = aligned(rows) + "\n" if len(rows) > 1 else ""
    return f"generated media, in percent\n{table}modality chosen rightly: {100 * figures['choice']:.1f}"
