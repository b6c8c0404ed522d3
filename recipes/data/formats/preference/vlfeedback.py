"""VLFeedback (Li et al., 2024, https://arxiv.org/abs/2410.09421): answers of several models, rated by GPT-4V.

``{"id", "prompt", "img_path", "models", "completions": [{"model", "response", "annotations": {"Helpfulness": {"Rating":
"4", ...}, "Ethical Considerations": ..., "Visual Faithfulness": ...}}, ...]}``. Every two answers with different mean
ratings are a pair; ties are left out, and their number is shown. ``datasets`` stores a list of objects as an object of
lists; both are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.preference.build import answer, numbered, pair, user, with_picture
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["recognise", "sample"]

_READ = ("prompt", "models", "completions")


class _Rated(NamedTuple):
    """One answer."""

    said: str
    rating: float
    field: str


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row has a prompt and completions."""
    return "prompt" in first and isinstance(first.get("completions"), (list, dict))


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sequence[Sample]:
    """The pairs of one row, those with the best answers first.

    Raises:
        DataError: a field that is missing, empty, of the wrong type, or not read.
    """
    prompt = user(filled(row, "prompt", where))
    ready = with_picture(row, ("img_path", "image"), root, where)
    rated = sorted(_rated(row, where, offenders), key=lambda one: -one.rating)
    found, ties, same = [], 0, 0
    for better, worse in combinations(rated, 2):
        if better.rating == worse.rating:
            ties += 1
        elif better.said == worse.said:
            same += 1
        else:
            chosen, rejected = (answer({one.field: one.said}, one.field, where) for one in (better, worse))
            fields = (better.field, worse.field)
            found.append(pair(ready, prompt, chosen, rejected, root, where, offenders, read=_READ, fields=fields))
    offenders.note("have equal ratings and are left out", where, ties, unit="pair(s)")
    offenders.note("have equal answers with different ratings and are left out", where, same, unit="pair(s)")
    return numbered(found)


def _rated(row: Mapping[str, Any], where: str, offenders: Offenders) -> Iterator[_Rated]:
    """The answers with a rating."""
    held = row.get("completions")
    if isinstance(held, Mapping):
        held = [_item(held, number) for number in range(max((len(v) for v in held.values()), default=0))]
    if not isinstance(held, (list, tuple)) or not held:
        raise DataError(f"{where}, completions: expected a list of objects, got {shown(held)}")
    for number, one in enumerate(held):
        field = f"completions[{number}]"
        if not isinstance(one, Mapping):
            raise DataError(f"{where}, {field}: expected an object with 'response', got {shown(one)}")
        said = filled(one, "response", f"{where}, {field}")
        notes = one.get("annotations")
        if not isinstance(notes, Mapping) or not notes:
            raise DataError(f"{where}, {field}, annotations: expected an object of ratings, got {shown(notes)}")
        ratings = [_rating(note, f"{where}, {field}, annotations, {name}") for name, note in notes.items()]
        given = [rating for rating in ratings if rating is not None]
        if not given:
            offenders.note("have no rating and are left out", where, unit="answer(s)")
            continue
        yield _Rated(said, sum(given) / len(given), f"{field}, response")


def _item(value: Any, number: int) -> Any:
    """One object of an object of lists."""
    if isinstance(value, Mapping):
        return {name: _item(held, number) for name, held in value.items()}
    return value[number] if isinstance(value, (list, tuple)) and number < len(value) else None


def _rating(note: Any, where: str) -> float | None:
    """A rating from 1 to 5; None if the judge gave none."""
    held = note.get("Rating") if isinstance(note, Mapping) else note
    if held is None or (isinstance(held, str) and held.strip().upper() in ("", "N/A")):
        return None
    try:
        return float(held)
    except (TypeError, ValueError):
        raise DataError(f"{where}, Rating: expected a number, got {shown(held)}") from None
