"""Checks rows against the model before the first step: the context length, and media for the parts of each stage.

The readers find invalid turns and media; this check needs the tokenizer and the adapter. A token of text has at least
one byte, so most rows fit by their number of bytes alone, which is known from the first check. The texts of the others
are tokenised in batches, and rows near the context length are encoded exactly as in training. The result for a large
file is kept for the next process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.compatibility.digest import tokenizer_digest
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import Message, TextPart, made_of, media_of
from inlay.adapters.conversation.segments import TooLongError
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError
from inlay.recipes.data.load import sets_of
from inlay.recipes.data.preference_check import Problem, check_preferences
from inlay.recipes.data.preparation.stage_samples import expanded, varied
from inlay.recipes.data.rows.offenders import Invalid, Offender, settle, write_list
from inlay.recipes.data.rows.sample import DataError, Sample, conversations_of, questions_of
from inlay.recipes.data.rows.tables.facts import MODALITIES
from inlay.recipes.data.rows.tables.samples import Samples
from inlay.recipes.data.rows.tables.sequences import Joined
from inlay.recipes.data.rows.tables.side_notes import SideNotes
from inlay.recipes.settings.stage import Stage, rate_of

__all__ = ["RowCheck", "TooLong", "check_reached", "usable_rows"]

_BATCH = 1024
_SECONDS = 5.0
"""The time between two lines of progress."""
_LONGEST = 256
"""Rows that are tokenised to find the longest."""
_PER_TURN = 8
"""Spare tokens of a turn beyond its bytes and the template: white space that a tokenizer adds."""


_LONG_ADVICE = (
    "rows that are too long: raise --data.max_length, up to the context of the LLM; cut or leave out such rows "
    "(--data.too_long cut, --data.too_long skip); give a medium fewer tokens (a projector with a larger factor, a "
    "tiling with fewer tiles: --stages.STAGE.tiling); or leave out all invalid rows (--data.invalid skip)"
)


@dataclass(frozen=True)
class _Overhead:
    """The number of positions that a layout adds to the texts."""

    first: int
    """For the first question with its answer."""
    further: int
    """For each further question with its answer."""


class TooLong(str):
    """A problem of a row that is too long."""


class RowCheck:
    """Checks whether rows can be encoded for a layout.

    Args:
        model: the attached model, with tokenizer and context length.
        layout: the layout of the rows.
        generation: whether rows end where the model's answer begins.
    """

    def __init__(self, model: AttachedModel, layout: Layout, *, generation: bool = False) -> None:
        self.model, self.layout, self.generation = model, layout, generation
        tilers = model.tilers(layout)
        self.most = {name: tilers[name].largest() if name in tilers else n for name, n in model.tokens.items()}
        """Modality -> the most tokens of a medium."""
        self.overhead = self._measure()
        self.cut = 0
        """Rows that were cut, see :class:`~inlay.adapters.core.encode.Limit`."""

    def problems(self, rows: Sequence[Sequence[Message]]) -> list[str]:
        """Why each row cannot be encoded, a :class:`TooLong` if it is its length; empty if it can."""
        told = [""] * len(rows)
        usual = [self._usual(row) for row in rows]
        unsure = [n for n, row in enumerate(rows) if not (usual[n] and self._fits(row, _bytes(row)))]
        sizes = self._tokens([rows[n] for n in unsure if usual[n]])
        for number in unsure:
            if not (usual[number] and self._fits(rows[number], next(sizes))):
                told[number] = self._exact(rows[number])
        return told

    def certain(self, samples: Samples) -> NDArray[np.bool_]:
        """Which samples certainly fit, by the number of bytes of their texts alone."""
        context, known = self._context(), self.most
        if self.overhead is None:
            return np.zeros(len(samples), bool)
        messages = samples.column("messages")
        length = self.overhead.first + self.overhead.further * (messages // 2) + _PER_TURN * messages
        length += samples.column("bytes")
        usual = samples.column("unusual") == 0
        for modality in MODALITIES:
            media = samples.column(f"input_{modality}")
            length += media * known.get(modality, 0)
            usual &= (media == 0) | (modality in known)
        fits: NDArray[np.bool_] = usual if context is None else usual & (length <= context)
        return fits

    def facts(self) -> list[Any]:
        """Everything that decides whether a row can be encoded, as plain values."""
        llm, tokens = self.model.backbone.llm, dict(self.model.tokens)
        made = {modality: list(ids) for modality, ids in self.model.adapter.signals.ids.items()}
        return [
            repr(self.layout),
            self.generation,
            tokens,
            made,
            repr(self.model.limit),
            llm.context,
            tokenizer_digest(llm.tokenizer),
        ]

    def _exact(self, row: Sequence[Message]) -> str:
        try:
            encoded = self.model.encode(row, layout=self.layout, generation=self.generation)
        except InlayError as error:
            return TooLong(error) if isinstance(error, TooLongError) else str(error)
        self.cut += encoded.cut > 0
        return ""

    def _usual(self, row: Sequence[Message]) -> bool:
        """Whether a row has only text and known media, and an answer in every turn."""
        turns = [message for message in row if message.role != "system"]
        known = all(part.modality in self.model.tokens for part in media_of(row))
        answered = all(message.text.strip() for message in turns if message.role == "assistant")
        return self.overhead is not None and len(turns) == len(row) and known and answered and not made_of(row)

    def _fits(self, row: Sequence[Message], size: int) -> bool:
        """Whether a usual row whose texts have at most `size` tokens fits into the context."""
        context = self._context()
        if context is None or self.overhead is None:
            return context is None
        positions = self.overhead.first + self.overhead.further * (len(row) // 2) + _PER_TURN * len(row)
        return positions + size + sum(self.most[part.modality] for part in media_of(row)) <= context

    def longest_text(self, samples: Sequence[Sample]) -> int:
        """An upper limit of the positions of a row beside its media, from the rows with the most bytes; 0 for no rows.

        A token has at least one byte, and about four, so the row with the most tokens is among these.
        """
        sizes = _sizes(samples)
        longest = np.argsort(sizes)[::-1][:_LONGEST]
        chosen = [messages for place in longest for messages in conversations_of(samples[int(place)])]
        first, further = (0, 0) if self.overhead is None else (self.overhead.first, self.overhead.further)
        texts = zip(chosen, self._tokens(chosen), strict=True)
        return max((size + first + further * max(0, len(row) // 2 - 1) for row, size in texts), default=0)

    def _context(self) -> int | None:
        """The most positions of a row that is not cut; None for no limit."""
        limits = (self.model.backbone.llm.context, None if self.generation else self.model.limit.positions)
        return min((limit for limit in limits if limit is not None), default=None)

    def _tokens(self, rows: Sequence[Sequence[Message]]) -> Iterator[int]:
        """The number of text tokens of each row, each text tokenised on its own."""
        texts = [message.text for row in rows for message in row]
        if not texts:
            return iter(())
        ids = self.model.backbone.llm.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        counts = iter([len(own) for own in ids])
        return iter([sum(next(counts) for _ in row) for row in rows])

    def _measure(self) -> _Overhead | None:
        """Measured with one and two short questions; None if the layout cannot encode them."""
        asked, said = Message("user", (TextPart("a"),)), Message("assistant", (TextPart("b"),))
        end = (asked,) if self.generation else (asked, said)
        try:
            one, two = (
                len(self.model.encode(turns, layout=self.layout, generation=self.generation).ids)
                for turns in (end, (asked, said, *end))
            )
        except InlayError:
            return None
        return _Overhead(one, max(0, two - one))


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


def _sizes(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Bytes of the texts of each sample; of files they are known from their check."""
    if isinstance(samples, Samples):
        return samples.column("bytes")
    if isinstance(samples, Joined):
        return np.concatenate([_sizes(part) for part in samples.parts])
    return np.fromiter((max(map(_bytes, conversations_of(row))) for row in samples), np.int64, len(samples))


def _bytes(row: Sequence[Message]) -> int:
    return sum(len(message.text.encode()) for message in row)
