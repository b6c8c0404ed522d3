"""Questions about a medium, as visual question answering data sets on the Hugging Face Hub have them.

``{"image": ..., "question": ..., "answer": ...}``, or with ``answers``, a list of texts or of ``{"answer": ...}``, as
in DocVQA, TextVQA and VQA v2. Other names of columns are mapped with ``--data.columns question=query,answer=label``.
The trained answer is ``answer`` or ``multiple_choice_answer`` if there is one, else the most frequent of the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, Part, TextPart
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import identity, text
from inlay.recipes.data.rows.media_fields import MEDIA_FIELDS, media_lists
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import DataError, Sample, check_turns
from inlay.recipes.data.rows.unread_fields import refuse_unread

__all__ = ["recognise", "sample"]

_ANSWERS = ("answer", "answers", "multiple_choice_answer")
_READ = ("id", "question_id", "question", "answer_type", "question_type", *_ANSWERS, *MEDIA_FIELDS)


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row has a question and its answer or answers."""
    return "question" in first and any(field in first for field in _ANSWERS)


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row.

    Raises:
        DataError: a field that is missing, of the wrong type, or not read.
    """
    refuse_unread(row, _READ, where, offenders=offenders)
    files = media_lists(row, root, where)
    parts: list[Part] = [MediaPart(kind, source) for kind, sources in files.items() for source in sources]
    given = _answers(row, where)
    answer = next(
        (str(row[field]) for field in ("answer", "multiple_choice_answer") if isinstance(row.get(field), str)), ""
    )
    said = answer.strip() or Counter(one for one in given if one.strip()).most_common(1)[0][0].strip()
    messages = (
        Message("user", (*parts, TextPart(filled(row, "question", where)))),
        Message("assistant", (TextPart(said),)),
    )
    check_turns(messages, where)
    kind = row.get("answer_type", row.get("question_type"))
    kinds = (text(kind, f"{where}, answer_type"),) if kind else ()
    name = {"id": row.get("id", row.get("question_id"))}
    found = identity(name if name["id"] is not None else {}, where)
    return Sample(found, messages, where, kinds, (given,) if len(given) > 1 or "answers" in row else ())


def _answers(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """All answers of a row: those of ``answers``, or the one of ``answer``, which may be a list as well."""
    field = next(
        (name for name in ("answers", "answer", "multiple_choice_answer") if row.get(name) is not None), "answer"
    )
    held = row.get(field)
    values = held if isinstance(held, (list, tuple)) else [held]
    found = []
    for number, value in enumerate(values):
        one = value.get("answer") if isinstance(value, Mapping) else value
        found.append(text(one, f"{where}, {field}" + (f"[{number}]" if isinstance(held, (list, tuple)) else "")))
    if not any(one.strip() for one in found):
        raise DataError(f"{where}, {field}: expected some text, got {shown(held)}")
    return tuple(found)
