"""Checks before the first step whether the rows of a stage are those of its objective: conversations or preferences.

Pairs whose answers are equal as tokens have no gradient and are refused too. These checks read the facts about a file,
and of pairs the two answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inlay.adapters.compatibility.digest import tokenizer_digest
from inlay.adapters.conversation.messages import Message, made_of, media_of
from inlay.recipes.data.rows.offenders import Offender
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.facts import DESIRABLE, PAIR, UNDESIRABLE, kind_of
from inlay.recipes.data.rows.tables.samples import Samples
from inlay.recipes.data.rows.tables.sequences import Chosen, Joined
from inlay.recipes.data.rows.tables.side_notes import SideNotes
from inlay.recipes.settings.objective import Objective, Reads

__all__ = ["Problem", "check_kinds", "check_preferences", "fitting"]

Problem: TypeAlias = tuple[Offender, bool]
"""A row that a stage cannot train on, and whether it is too long."""

_KINDS: dict[Reads, tuple[int, ...]] = {
    "conversations": (0,),
    "pairs": (PAIR,),
    "labels": (DESIRABLE, UNDESIRABLE),
}
_WANTED: dict[Reads, str] = {
    "conversations": "plain conversations",
    "pairs": "pairs of a better and a worse answer",
    "labels": "single answers with a label, good or bad",
}
_ADVICE: dict[Reads, str] = {
    "conversations": "give plain conversations, or train on preferences with "
    "--stages.{stage}.objective.name preference",
    "pairs": 'give rows with a better and a worse answer (the page "Preferences" of the documentation shows them); '
    "conversations need --stages.{stage}.objective.name next_token, and answers with a label the loss kto",
    "labels": 'give answers with a label (the page "Preferences" of the documentation shows them); pairs need '
    "another loss, such as sigmoid",
}
_BATCH = 1024


def fitting(samples: Sequence[Sample], reads: Reads) -> Sequence[Sample]:
    """The samples that an objective can train on."""
    fits = np.isin(_kinds(samples), _KINDS[reads])
    return samples if fits.all() else Chosen(samples, np.flatnonzero(fits))


def check_kinds(samples: Sequence[Sample], stage: str, objective: Objective) -> NDArray[np.bool_]:
    """Whether an objective can train on each sample; needs no model.

    Args:
        samples: a data set of the stage.
        stage: the name of the stage.
        objective: of the stage.

    Raises:
        DataError: it can train on none of them.
    """
    kinds, wanted = _kinds(samples), objective.reads
    fits = np.isin(kinds, _KINDS[wanted])
    if len(fits) and not fits.any():
        given = next(kind for kind, codes in _KINDS.items() if kinds[0] in codes)
        file = samples[0].origin.partition(", ")[0]
        raise DataError(
            f"stage {stage}: the objective {objective.name} trains on {_WANTED[wanted]}, but {file} has "
            f"{_WANTED[given]}; {_ADVICE[wanted].format(stage=stage)}"
        )
    return fits


def check_preferences(
    samples: Sequence[Sample],
    bad: dict[int, Problem],
    stage: str,
    objective: Objective,
    tokenizer: Any,
    show: Callable[[str], object] | None = None,
) -> None:
    """Check the samples of a stage.

    Args:
        samples: a data set of the stage.
        bad: place -> offender; gets the samples that do not fit.
        stage: the name of the stage.
        objective: of the stage.
        tokenizer: of the LLM.
        show: prints a warning if all labels are equal.

    Raises:
        DataError: no sample fits the objective.
    """
    reads = objective.reads
    fits, kinds = check_kinds(samples, stage, objective), _kinds(samples)
    for place in np.flatnonzero(~fits).tolist():
        _add(samples, place, bad, f"stage {stage}: expected {_WANTED[reads]} as in other rows of the file, got another")
    if reads == "pairs":
        for place in _equal(samples, np.flatnonzero(fits).tolist(), tokenizer):
            _add(samples, place, bad, f"stage {stage}: chosen and rejected are the same tokens; leave the pair out")
    if reads == "labels" and show is not None and len({*kinds[fits].tolist()}) == 1:
        name = "desirable" if kinds[fits][0] == DESIRABLE else "undesirable"
        show(
            f"stage {stage}: all answers are labelled {name}. The loss compares good answers with bad ones: give both, "
            "or train good answers alone with objective next_token"
        )


def _add(samples: Sequence[Sample], place: int, bad: dict[int, Problem], reason: str) -> None:
    origin = samples[place].origin
    bad.setdefault(place, (Offender(origin, f"{origin}: {reason}"), False))


def _kinds(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """:func:`kind_of` of each sample; of files it is known from their check."""
    if isinstance(samples, Samples):
        return samples.column("preference")
    if isinstance(samples, Joined) and samples.parts:
        return np.concatenate([_kinds(part) for part in samples.parts])
    if isinstance(samples, Chosen):
        return _kinds(samples.samples)[samples.places]
    return np.fromiter(map(kind_of, samples), np.int64, len(samples))


def _equal(samples: Sequence[Sample], places: list[int], tokenizer: Any) -> list[int]:
    """The pairs whose last answers are the same tokens about the same media; of a large file kept for later."""
    whole = samples if isinstance(samples, Samples) and samples.chosen is None else None
    notes = SideNotes(whole, ["equal answers", tokenizer_digest(tokenizer)]) if whole is not None else None
    held: list[int] | None = None if notes is None else notes.load()
    if held is None:
        held = list(_found_equal(samples, places, tokenizer))
        if notes is not None:
            notes.save(held)
    return held


def _found_equal(samples: Sequence[Sample], places: list[int], tokenizer: Any) -> Iterator[int]:
    for start in range(0, len(places), _BATCH):
        numbers = places[start : start + _BATCH]
        pairs = [(row.messages, row.rejected) for row in (samples[number] for number in numbers)]
        texts = [messages[-1].text.strip() for pair in pairs for messages in pair]
        ids = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        for number, pair, better, worse in zip(numbers, pairs, ids[::2], ids[1::2], strict=True):
            if list(better) == list(worse) and _same_media(*pair):
                yield number


def _same_media(better: Sequence[Message], worse: Sequence[Message]) -> bool:
    """Whether two conversations have the same media, and generate the same media in their last answers."""
    return media_of(better) == media_of(worse) and made_of(better[-1:]) == made_of(worse[-1:])
