"""VQA v2: questions, annotations and a folder of images (Goyal et al., 2017, https://arxiv.org/abs/1612.00837).

Questions are ``{"questions": [{"question_id", "image_id", "question"}]}``; annotations, ``{"annotations": [...]}``, are
``{"question_id", "image_id", "question_type", "answer_type", "multiple_choice_answer", "answers": [{"answer"}, ...]}``,
ten answers each. Other fields are ignored. Both files must have the same questions.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.media.sources import DownscaledPath
from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.vqa.images import find_pattern, image_name
from inlay.recipes.data.rows.checks.media_check import check_media
from inlay.recipes.data.rows.fields import text
from inlay.recipes.data.rows.media_values import MediaRules
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled, objects, table, whole
from inlay.recipes.data.rows.sample import DataError, Question, Sample

__all__ = ["ANSWER_TYPES", "read_vqa", "read_vqa_questions"]

ANSWER_TYPES = ("yes/no", "number", "other")
"""The answer types of the official evaluation, in its order: ``VQAAccuracy(kinds=ANSWER_TYPES)``."""


@dataclass(frozen=True, slots=True)
class _Asked:
    question_id: int
    image_id: int
    message: Message
    where: str


def read_vqa(
    questions: str | Path,
    annotations: str | Path,
    images: str | Path | MediaRules,
    *,
    answers: int = 10,
    target: Literal["majority", "sampled"] = "majority",
    kind: Literal["answer_type", "question_type"] | None = "answer_type",
    pattern: str | None = None,
    seed: int = 0,
    offenders: Offenders | None = None,
    links: bool = False,
) -> list[Sample]:
    """Read questions with their human answers.

    Args:
        questions: the questions file.
        annotations: the annotations file.
        images: the folder of the images.
        answers: number of human answers of each question.
        target: the assistant's answer: ``majority`` is ``multiple_choice_answer``, the most frequent answer;
            ``sampled`` is one human answer drawn at random, so that each is trained on as often as it was given. The
            metric uses all answers in both cases.
        kind: the annotation's field that becomes the sample's kind, by which the metric is broken down; None for none.
        pattern: name of an image by its id, such as ``COCO_val2014_%012d.jpg``; if not given, found by
            :func:`~inlay.recipes.data.formats.vqa.images.find_pattern`.
        seed: seed of ``sampled``; the draw of a question does not depend on the others.
        offenders: collects invalid questions and annotations; the images are then not checked. If not given, the first
            invalid entry or missing image raises an error.
        links: whether symbolic links may lead out of the folder of the images.

    Returns:
        The samples in the order of the questions; a sample's id is its question id.

    Raises:
        DataError: with the file, the place in the list (from 0), the question id and the image id: a question without
            annotation or an annotation without question, a duplicate id, another number of answers, only empty
            answers, a missing image, a field of the wrong type.
    """
    chosen = offenders or Offenders()
    rules = replace(MediaRules.of(images), links=links or MediaRules.of(images).links)
    asked = _asked(Path(questions), rules, pattern, chosen)
    notes = _by_question(Path(annotations), chosen)
    samples = []
    for item in asked:
        with chosen.row(item.where):
            if item.question_id not in notes:
                raise DataError(
                    f"{item.where}: {annotations} has no annotation of this question; use files of the same split"
                )
            where, note = notes.pop(item.question_id)
            if whole(note, "image_id", where) != item.image_id:
                raise DataError(f"{where}, image_id: {item.where} is about another image, got {note['image_id']}")
            given = _answers(note, answers, where)
            said = filled(note, "multiple_choice_answer", where) if target == "majority" else ""
            if target == "sampled":
                said = random.Random(f"{seed} {item.question_id}").choice(
                    [answer for answer in given if answer.strip()]
                )
            kinds = (filled(note, kind, where),) if kind else ()
            messages = (item.message, Message("assistant", (TextPart(said.strip()),)))
            samples.append(Sample(str(item.question_id), messages, item.where, kinds, (given,)))
    if notes and not chosen.found:
        where, _ = next(iter(notes.values()))
        raise DataError(f"{where}: {questions} has no such question; annotations without question: {len(notes)}")
    if offenders is None:
        check_media(samples, rules.folder or Path(), links=rules.links)
    return samples


def read_vqa_questions(
    questions: str | Path, images: str | Path | MediaRules, *, pattern: str | None = None, links: bool = False
) -> dict[int, Question]:
    """Read questions that have no public answers, such as the test split.

    Args:
        questions: the questions file.
        images: the folder of the images.
        pattern: as for :func:`read_vqa`.
        links: as for :func:`read_vqa`.

    Returns:
        Questions by their ids in the order of the file; their reference and answers are empty.
        :func:`~inlay.recipes.data.formats.vqa.results.write_vqa_results` takes the answers by the same ids.

    Raises:
        DataError: as for :func:`read_vqa`.
    """
    rules = MediaRules.of(images)
    asked = _asked(Path(questions), rules, pattern, Offenders())
    rows = [Sample(str(item.question_id), (item.message,), item.where) for item in asked]
    check_media(rows, rules.folder or Path(), links=links or rules.links)
    return {item.question_id: Question((item.message,), "", (), "") for item in asked}


def _asked(path: Path, rules: MediaRules, pattern: str | None, offenders: Offenders) -> list[_Asked]:
    images = rules.folder or Path()
    document, items = table(path, "questions")
    ids: dict[int, int] = {}
    numbers: list[tuple[int, int, int]] = []
    for index, item in enumerate(items):
        where = f"{path}, question {index}"
        with offenders.row(where):
            question_id, image_id = whole(item, "question_id", where), whole(item, "image_id", where)
            if question_id in ids:
                raise DataError(f"{where}: question_id {question_id} is also the id of question {ids[question_id]}")
            ids[question_id] = index
            numbers.append((index, question_id, image_id))
    pattern = pattern or find_pattern(images, [image for _, _, image in numbers], document.get("data_subtype"))
    # One path for each image, not for each question: building paths takes most of the time.
    different = {number for _, _, number in numbers}
    kind = DownscaledPath if rules.downscale else Path
    pictures = {number: MediaPart("image", kind(images / image_name(pattern, number))) for number in different}
    asked = []
    for index, question_id, image_id in numbers:
        where = f"{path}, question {index} (question_id {question_id}, image_id {image_id})"
        with offenders.row(where):
            message = Message("user", (pictures[image_id], TextPart(filled(items[index], "question", where))))
            asked.append(_Asked(question_id, image_id, message, where))
    return asked


def _by_question(path: Path, offenders: Offenders) -> dict[int, tuple[str, dict[str, Any]]]:
    _, items = table(path, "annotations")
    notes: dict[int, tuple[str, dict[str, Any]]] = {}
    for index, item in enumerate(items):
        where = f"{path}, annotation {index}"
        with offenders.row(where):
            question_id = whole(item, "question_id", where)
            where = f"{where} (question_id {question_id}, image_id {shown(item.get('image_id'))})"
            if question_id in notes:
                raise DataError(f"{where}: the same question_id as {notes[question_id][0]}")
            notes[question_id] = where, item
    return notes


def _answers(note: Mapping[str, Any], number: int, where: str) -> tuple[str, ...]:
    """All human answers; some of them may be empty, but not all."""
    where = f"{where}, answers"
    given = note.get("answers")
    if not isinstance(given, list):
        raise DataError(f"{where}: expected a list, got {shown(given)}")
    if len(given) != number:
        raise DataError(
            f"{where}: expected {number} human answers, got {len(given)}; if that is right, set answers={len(given)} "
            f"(on the command line --data.answers {len(given)})"
        )
    said = tuple(
        text(item.get("answer"), f"{where}[{index}], answer") for index, item in enumerate(objects(given, where))
    )
    if not any(answer.strip() for answer in said):
        raise DataError(f"{where}: all {number} human answers are empty")
    return said
