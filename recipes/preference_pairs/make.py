"""Sample answers to questions, rank them by a reward, and write the best and the worst as preference pairs.

CHAIR-DPO (Compagnoni et al., 2025, https://arxiv.org/abs/2508.20181) creates its pairs in this way, without a judge
model; here the reward may be any verifiable score.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.sample_groups import Group, sample_groups
from inlay.adapters.compatibility.digest import exact_digest
from inlay.adapters.conversation.messages import media_of
from inlay.recipes.data.cache.features import Caching
from inlay.recipes.data.rows.sample import Question, Sample
from inlay.recipes.data.rows.write import write_text
from inlay.recipes.evaluation.batches import in_batches, planned_size
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary
from inlay.recipes.evaluation.token_limit import longest_answer
from inlay.recipes.preference_pairs.progress import Progress
from inlay.recipes.preference_pairs.questions import read_questions, scorable
from inlay.recipes.preference_pairs.ranking import pair_row, ranked
from inlay.recipes.preference_pairs.settings import PairSettings, check_output
from inlay.recipes.preference_pairs.summary import PairSummary, summary_of
from inlay.recipes.rewards.registry import RewardFunction
from inlay.recipes.rewards.scoring import Scorer, scorer_of
from inlay.recipes.runs.miniature_data import OBJECTS
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.precision import device_of
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.training.load_model import load_model

__all__ = ["pairs"]

LARGEST = 16
"""Limit on the questions in a batch, each with all its answers."""
MARGIN = 8
"""Margin of tokens above the longest reference answer."""
CACHE = 2 << 30
"""Memory for cached frozen features, in bytes."""


def pairs(
    model: AttachedModel | str | Path,
    data: str | Path | None = None,
    *,
    output: str | Path,
    images: str | Path | None = None,
    annotations: str | Path | None = None,
    settings: PairSettings | None = None,
    reward: RewardFunction | None = None,
    batch_size: int | None = None,
    overwrite: bool = False,
    trusted: Path | None = None,
    backbone: Backbone | BackboneSettings | None = None,
    accelerator: str = "auto",
    links: bool = False,
    show: Callable[[str], None] = print,
    **options: Any,
) -> PairSummary:
    """Write preference pairs in TRL's format, one JSON object per line.

    A stopped call can be repeated with the same settings and continues; the result equals that of an uninterrupted one.

    Args:
        model: an attached model, or the folder of a run or bundle.
        data: questions with answers, in any format; the run's own training data if not given.
        output: the file of the pairs. Paths of media in it are relative to the folder of the media.
        images: folder of the media; the folder of the data file if not given.
        annotations: VQA v2: the annotations of the questions.
        settings: sampling and reward; the fields of :class:`PairSettings` can also be given as ``options``.
        reward: a function ``(question, answer, sample)`` -> number, instead of a name in the settings.
        batch_size: questions per batch, each with all its answers; if not given, as many as the memory allows, and at
            most 16.
        overwrite: replace an existing file.
        trusted: a public key or root certificate; a bundle without a valid signature for it is refused.
        backbone: loaded frozen models, or settings that name some of them, for a run or bundle.
        accelerator: ``auto``, ``cpu`` or ``gpu``, for a run or bundle.
        links: allow symbolic links that lead out of the media folder.
        show: prints a line for the user.
        options: fields of :class:`PairSettings`.

    Returns:
        Numbers of pairs and ties, and mean rewards.

    Raises:
        SettingsError: invalid settings, an existing output file, or an unfinished one with other settings.
        DataError: invalid data, or no question that the reward can score.
        RewardError: the reward fails; the text names the row.

    Example:
        >>> from inlay.recipes import pairs  # doctest: +SKIP
        >>> print(pairs("runs/llava", output="pairs.jsonl", samples=4, limit=100))  # doctest: +SKIP
    """
    chosen = settings or PairSettings(**options)
    if settings is not None and options:
        raise SettingsError(f"pairs: expected settings, or the options {', '.join(options)}, got both")
    target = check_output(Path(output), overwrite)
    run = Path(model) if isinstance(model, str | Path) else None
    held, folder, own = read_questions(run, data, images, annotations, links)
    scorer = scorer_of(chosen, vocabulary=ObjectVocabulary.of(OBJECTS) if own else None, function=reward)
    asked, unscored = scorable(held.samples, scorer, chosen.limit)
    attached = model if not isinstance(model, str | Path) else _attached(model, trusted, backbone, accelerator)
    task = _Task(attached, chosen, scorer, asked, folder, "function" if reward is not None else chosen.reward)
    facts = {**_fields(chosen), "reward": task.name, "adapter": exact_digest(attached.adapter), "data": task.digest()}
    facts["backbone"] = attached.backbone.llm.port.weights
    with Progress(target, facts, {"batch_size": batch_size or task.planned()}, overwrite=overwrite) as progress:
        if progress.items:
            show(f"continuing {progress.path}: {len(progress.items)} of {len(asked)} questions are answered")
        task.run(progress, show)
        done = [progress.items[number] for number in range(len(asked))]
        rows = [item["row"] for item in done if item["row"] is not None]
        write_text(target, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        progress.finish()
    return summary_of(target, done, unscored)


def _attached(
    bundle: str | Path, trusted: Path | None, backbone: Backbone | BackboneSettings | None, accelerator: str
) -> AttachedModel:
    model = load_model(bundle, backbone=backbone, trusted=trusted)
    model.backbone.to(device_of(accelerator))
    return model


def _fields(settings: PairSettings) -> dict[str, Any]:
    """The settings as JSON values; the object classes by content."""
    values = asdict(settings)
    if settings.objects is not None:
        values["objects"] = hashlib.sha256(settings.objects.read_bytes()).hexdigest()
    return values


@dataclass(frozen=True)
class _Task:
    """Questions to answer and score."""

    model: AttachedModel
    settings: PairSettings
    scorer: Scorer
    asked: list[tuple[Question, Sample]]
    folder: Path
    name: str

    @property
    def limit(self) -> int:
        """Maximum tokens of an answer."""
        if self.settings.max_new_tokens is not None:
            return self.settings.max_new_tokens
        longest = longest_answer([question for question, _ in self.asked], self.model.backbone.llm.tokenizer)
        return max(self.scorer.tokens, longest + MARGIN)

    def digest(self) -> str:
        """Digest of questions, answers and names of media."""
        found = hashlib.sha256()
        for question, sample in self.asked:
            turns = [(message.role, message.text) for message in question.prompt]
            media = [Path(str(part.source)).name for part in media_of(question.prompt)]
            found.update(json.dumps([sample.id, turns, media, question.answers, sample.description]).encode())
        return found.hexdigest()

    def order(self) -> list[int]:
        """The order of the questions: similar lengths together, the longest first, because they need most memory."""
        lengths = [sum(len(message.text) for message in question.prompt) for question, _ in self.asked]
        return sorted(range(len(self.asked)), key=lambda number: -lengths[number])

    def planned(self) -> int:
        """Questions per batch that fit into the memory."""
        longest, sample = self.asked[self.order()[0]]
        row = self.model.encode(longest.prompt, generation=True, name=sample.id)
        llm = self.model.backbone.llm
        return min(LARGEST, planned_size(llm, len(row.ids), self.limit, beams=self.settings.samples))

    def run(self, progress: Progress, show: Callable[[str], None]) -> None:
        """Answer all questions that are not finished, batch by batch."""
        left = [number for number in self.order() if number not in progress.items]
        if not left:
            return
        show(f"sampling {self.settings.samples} answers to each of {len(left)} questions")
        geometry = self.model.adapter.layout.geometry_for("image")
        seen = {id(self.asked[number][1]): self.asked[number][1] for number in left}
        features = Caching(memory=CACHE, store=None, show=show).features(
            self.model.backbone, geometry, list(seen.values())
        )
        limit = self.limit

        def answer(numbers: Sequence[int], _: int) -> list[None]:
            chosen = [self.asked[number] for number in numbers]
            groups = sample_groups(
                self.model,
                [question.prompt for question, _ in chosen],
                self.settings.samples,
                temperature=self.settings.temperature,
                top_p=self.settings.top_p,
                top_k=self.settings.top_k,
                max_new_tokens=limit,
                seed=self.settings.seed,
                numbers=numbers,
                features=features if any(media_of(question.prompt) for question, _ in chosen) else None,
                names=[sample.id for _, sample in chosen],
                batch_size=len(chosen),
            )
            progress.add([(number, self._item(number, group)) for number, group in zip(numbers, groups, strict=True)])
            return [None] * len(numbers)

        # Numbers of `in_batches` are indices into the list `left`.
        in_batches(
            range(len(left)),
            progress.free["batch_size"],
            lambda places, size: answer([left[place] for place in places], size),
            show=show,
        )

    def _item(self, number: int, group: Group) -> dict[str, Any]:
        question, sample = self.asked[number]
        scores = [self.scorer(question, text, sample).total for text in group.texts]
        found = ranked(group.texts, scores)
        row = None
        if found.outcome == "pair":
            row = pair_row(
                question,
                sample,
                group.texts[found.best],
                group.texts[found.worst],
                self.folder,
                score_chosen=scores[found.best],
                score_rejected=scores[found.worst],
                reward=self.name,
                samples=len(scores),
            )
        cut = sum(reason == "length" for reason in group.finish_reasons)
        return {"outcome": found.outcome, "score": sum(scores) / len(scores), "cut": cut, "row": row}
