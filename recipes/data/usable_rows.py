"""The rows that each stage can use: those that fit the context, with media for the parts that the stage trains.

The readers find invalid turns and media; this check needs the tokenizer and the adapter. The result for a large file
is kept for the next process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.messages import Message, made_of, media_of
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.load import sets_of
from inlay.recipes.data.preference_check import Problem, check_preferences
from inlay.recipes.data.preparation.stage_samples import expanded, varied
from inlay.recipes.data.row_check import RowCheck, TooLong
from inlay.recipes.data.rows.offenders import Invalid, Offender, settle, write_list
from inlay.recipes.data.rows.sample import DataError, Sample, conversations_of, questions_of
from inlay.recipes.data.rows.tables.samples import Samples
from inlay.recipes.data.rows.tables.side_notes import SideNotes
from inlay.recipes.settings.stage import Stage, rate_of

__all__ = ["check_reached", "usable_rows"]

_BATCH = 1024
_SECONDS = 5.0
"""The time between two lines of progress."""
_LONG_ADVICE = (
    "rows that are too long: raise --data.max_length, up to the context of the LLM; cut or leave out such rows "
    "(--data.too_long cut, --data.too_long skip); give a medium fewer tokens (a projector with a larger factor, a "
    "tiling with fewer tiles: --stages.STAGE.tiling); or leave out all invalid rows (--data.invalid skip)"
)


def usable_rows(
    samples: Mapping[str, Sequence[Sample]],
    stages: Mapping[str, Stage],
    model: AttachedModel,
    *,
    seed: int,
    invalid: Invalid,
    too_long: Literal["raise", "skip", "cut"] = "raise",
    streamed: Collection[str] = (),
    vocabulary: Any = None,
    left_out: Sequence[Offender] = (),
    report: Path | None = None,
    show: Callable[[str], object] | None = None,
) -> dict[str, Sequence[Sample]]:
    """The samples that every stage and the final evaluation can encode.

    Args:
        samples: the result of :func:`~inlay.recipes.data.load.load_data`.
        stages: the stages in training order.
        model: the attached model.
        seed: seed of the run.
        invalid: whether other samples stop the run or are left out.
        too_long: whether rows that are too long are treated as other samples that cannot be encoded, or are left out.
            With ``cut`` these are the rows that cannot be cut; the model's `limit` decides whether rows are cut.
        streamed: data sets that are read as a stream, which is not checked here.
        vocabulary: the object classes of the pictures, for checks of objectives; None if they are unknown.
        left_out: rows that were left out before.
        report: file for the list of all invalid rows; None to write none.
        show: prints a line for the user.

    Raises:
        DataError: rows that cannot be encoded, or a stage without media for any of its parts.
    """
    bad: dict[int, dict[int, Problem]] = {id(rows): {} for rows in samples.values()}
    for name, stage in stages.items():
        if not stage.objective.conversations or stage.data in streamed:
            continue
        check, said = RowCheck(model, stage.layout), partial(_said, stage=stage, seed=seed)
        rules = [repr(stage.samples), repr(stage.data), seed if stage.samples.varies else 0]
        for rows in sets_of(stage.data, samples):
            check_preferences(rows, bad[id(rows)], name, stage.objective, model.backbone.llm.tokenizer, show)
            _judge(rows, bad[id(rows)], stage.objective.sample_check(vocabulary), f"stage {name}: ")
            _check(rows, bad[id(rows)], check, said, rules, f"stage {name}: ", show, as_is=_is_as_is(stage))
        if check.cut and show is not None:
            show(f"stage {name}: {check.cut:,} row(s) are too long and are cut at their end (--data.too_long cut)")
    asking = RowCheck(model, list(stages.values())[-1].layout, generation=True)
    for test in (samples[name] for name in ("test", "questions") if samples.get(name)):
        _check(test, bad[id(test)], asking, _asked, ["asked"], "", show, as_is=True)
    found = [problem for own in bad.values() for _, problem in sorted(own.items())]
    long = [offender for offender, is_long in found if is_long and too_long != "raise"]
    if others := [offender for offender, is_long in found if not is_long or too_long == "raise"]:
        advice = _LONG_ADVICE if any(is_long for _, is_long in found) else ""
        settle(others, invalid, report=report, show=show, advice=advice)
    if long and show is not None:
        show(f"left out: {len(long):,} row(s) that are too long (--data.too_long {too_long}); first: {long[0].reason}")
    if report is not None:
        write_list(report, [*left_out, *(offender for offender, _ in found)])
    if found:
        kept = {id(rows): _without(rows, bad[id(rows)]) for rows in samples.values()}
        if empty := [name for name, rows in samples.items() if not kept[id(rows)]]:
            reason = f"{', '.join(empty)}: no usable row is left"
            raise DataError(f"{reason}; first: {found[0][0].reason}; {_LONG_ADVICE}" if long else reason)
        samples = {name: kept[id(rows)] for name, rows in samples.items()}
    for name, stage in stages.items():
        if stage.data not in streamed:
            check_reached(name, stage, sets_of(stage.data, samples), model)
    return dict(samples)


def check_reached(name: str, stage: Stage, sets: Iterable[Sequence[Sample]], model: AttachedModel) -> None:
    """Check that the data of a stage contain media for at least one part that it trains.

    Raises:
        DataError: they do not, so the stage would train nothing.
    """
    adapter = model.adapter
    trained = [part.name for part in adapter.parts() if rate_of(part.name, stage.lr) is not None]
    wanted: dict[tuple[str, Modality], str] = {}
    for part in trained:
        side, _, kind = part.partition(".")
        if side not in ("inputs", "outputs"):
            return
        for modality in get_args(Modality):
            shared = side == "inputs" and modality in adapter.inputs and kind in adapter.inputs
            if modality == kind or (shared and adapter.inputs[modality] is adapter.inputs[kind]):
                wanted[side, modality] = part
    if not wanted:
        return
    for rows in sets:
        for sample in rows:
            for row in expanded([sample], stage):
                found: list[Any] = [("inputs", part.modality) for part in media_of(row.messages)]
                found += [("outputs", part.modality) for part in made_of(row.messages)]
                if any(key in wanted for key in found):
                    return
    kinds = sorted({modality for _, modality in wanted})
    raise DataError(
        f"stage {name} trains only {', '.join(trained)}, but no row of its data has a medium of type "
        f"{' or '.join(kinds)}; name the media in the data, or leave the stage out with --order"
    )


def _judge(
    samples: Sequence[Sample], bad: dict[int, Problem], problem_of: Callable[[Sample], str] | None, place: str
) -> None:
    """Add the samples that an objective cannot train on to `bad`."""
    if problem_of is None:
        return
    for number, sample in enumerate(samples):
        if number not in bad and (problem := problem_of(sample)):
            bad[number] = Offender(sample.origin, f"{sample.origin}: {place}{problem}"), False


def _said(sample: Sample, *, stage: Stage, seed: int) -> list[tuple[Message, ...]]:
    """The conversations that a stage trains on for one sample."""
    rows = [varied(row, stage, seed=seed, number=0) for row in expanded([sample], stage)]
    return [messages for row in rows for messages in conversations_of(row)]


def _asked(sample: Sample) -> list[tuple[Message, ...]]:
    """The longest prompt of a held-out sample."""
    return [question.prompt for question in questions_of(sample)[-1:]]


def _check(
    samples: Sequence[Sample],
    bad: dict[int, Problem],
    check: RowCheck,
    rows_of: Callable[[Sample], list[tuple[Message, ...]]],
    rules: list[Any],
    place: str,
    show: Callable[[str], object] | None,
    *,
    as_is: bool,
) -> None:
    """Add the samples with a row that cannot be encoded to `bad`, by their places.

    Args:
        samples: a data set; of a large one, the result of an earlier process is used.
        bad: place -> offender; these samples are not checked again.
        check: checks rows.
        rows_of: sample -> the conversations that are encoded.
        rules: plain values that decide what `rows_of` returns.
        place: the stage, for errors.
        show: prints a line for the user.
        as_is: whether `rows_of` adds no text to a sample.
    """
    lazy = samples if isinstance(samples, Samples) and samples.chosen is None else None
    notes = SideNotes(lazy, [check.facts(), rules]) if lazy is not None else None
    held = notes.load() if notes is not None else None
    if held is None:
        before = check.cut
        sure = check.certain(samples) if as_is and isinstance(samples, Samples) else np.zeros(len(samples), bool)
        problems = _problems(samples, np.flatnonzero(~sure).tolist(), check, rows_of, place, show)
        found = [[number, problem, isinstance(problem, TooLong)] for number, problem in problems]
        held = [check.cut - before, found]
        if notes is not None:
            notes.save(held)
    else:
        check.cut += held[0]
    for number, problem, is_long in held[1]:
        if number not in bad:
            origin = samples[number].origin
            bad[number] = Offender(origin, f"{origin}: {place}{problem}"), is_long


def _problems(
    samples: Sequence[Sample],
    places: list[int],
    check: RowCheck,
    rows_of: Callable[[Sample], list[tuple[Message, ...]]],
    place: str,
    show: Callable[[str], object] | None,
) -> Iterator[tuple[int, str]]:
    """The samples at some places that cannot be encoded, and why."""
    told = time.monotonic()
    for start in range(0, len(places), _BATCH):
        numbers = places[start : start + _BATCH]
        pairs = [(number, row) for number in numbers for row in rows_of(samples[number])]
        reasons: dict[int, str] = {}
        for (number, _), problem in zip(pairs, check.problems([row for _, row in pairs]), strict=True):
            if problem:
                reasons[number] = problem
        yield from reasons.items()
        if show is not None and time.monotonic() - told > _SECONDS:
            told = time.monotonic()
            show(f"{place}measured {start + len(numbers):,} of {len(places):,} rows")


def _is_as_is(stage: Stage) -> bool:
    """Whether a stage trains on the texts of the data, without words of its own."""
    own = stage.samples
    return not own.varies and own.phrasing == "as_is" and own.direction == "as_is"


def _without(samples: Sequence[Sample], bad: Mapping[int, Problem]) -> Sequence[Sample]:
    """The samples at all other places."""
    if not bad:
        return samples
    places = [number for number in range(len(samples)) if number not in bad]
    return samples.take(places) if isinstance(samples, Samples) else [samples[number] for number in places]
