"""Rows against the model, before the first step: do they fit into its context, and does each stage have what it trains?

Reading the files finds bad turns and media; this check needs the tokenizer and the adapter. A row is tokenised only
where the number of its bytes does not already show that it fits: a token of text has at least one byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import Message, TextPart, made_of, media_of
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError
from inlay.recipes.data.load import sets_of
from inlay.recipes.data.offenders import Invalid, Offender, settle, write_list
from inlay.recipes.data.prepare import expanded, varied
from inlay.recipes.data.sample import DataError, Sample, questions_of
from inlay.recipes.recipe import Stage
from inlay.recipes.stages.schedule import rate_of

__all__ = ["RowCheck", "check_reached", "usable_rows"]

_PER_TURN = 8
"""Tokens that a turn may have beyond its bytes and the template's: white space that a tokenizer adds."""


@dataclass(frozen=True)
class _Overhead:
    """Positions of a layout's own text."""

    first: int
    """Of the first question with its answer."""
    further: int
    """Of every further one."""


class RowCheck:
    """Whether rows can be encoded for a layout.

    Args:
        model: tokenizer, context and positions of media.
        layout: of the rows.
        generation: rows end where the model's answer begins.
    """

    def __init__(self, model: AttachedModel, layout: Layout, *, generation: bool = False) -> None:
        self.model, self.layout, self.generation = model, layout, generation
        self.overhead = self._measure()

    def problem(self, messages: Sequence[Message]) -> str:
        """Why a row cannot be encoded; empty where it can."""
        if self._fits(messages):
            return ""
        try:
            self.model.encode(messages, layout=self.layout, generation=self.generation)
        except InlayError as error:
            return str(error)
        return ""

    def _fits(self, messages: Sequence[Message]) -> bool:
        """Whether the row fits without being tokenised; rows with anything unusual are tokenised."""
        context = self.model.backbone.llm.context
        turns = [message for message in messages if message.role != "system"]
        answers = [message for message in turns if message.role == "assistant"]
        media = media_of(messages)
        if self.overhead is None or len(turns) < len(messages) or made_of(messages):
            return False
        if not all(answer.text.strip() for answer in answers) or any(
            p.modality not in self.model.tokens for p in media
        ):
            return False
        if context is None:
            return True
        positions = self.overhead.first + self.overhead.further * (len(turns) // 2)
        positions += sum(self.model.tokens[part.modality] for part in media) + _PER_TURN * len(turns)
        positions += sum(len(message.text.encode()) for message in turns)
        return positions <= context

    def _measure(self) -> _Overhead | None:
        """Positions of one and of two short questions; None where the layout cannot tell."""
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
    samples: Mapping[str, list[Sample]],
    stages: Mapping[str, Stage],
    model: AttachedModel,
    *,
    seed: int,
    invalid: Invalid,
    streamed: bool = False,
    left_out: Sequence[Offender] = (),
    report: Path | None = None,
    show: Callable[[str], object] | None = None,
) -> dict[str, list[Sample]]:
    """The samples that every stage, and the questions at the end, can encode.

    Args:
        samples: as :func:`~inlay.recipes.data.load.load_data` gives them.
        stages: in their order.
        model: the attached model.
        seed: of the run.
        invalid: what happens to the others.
        streamed: the stages on captions read shards, which are not looked at here.
        left_out: rows that were left out before.
        report: the list of both; None to write none.
        show: where lines for the user go.

    Raises:
        DataError: rows that cannot be encoded, or a stage whose data reach none of its parts.
    """
    bad: dict[int, Offender] = {}
    for name, stage in stages.items():
        if stage.objective == "represent" or (streamed and stage.data == "align"):
            continue
        check = RowCheck(model, stage.layout)
        for sample in _each(sets_of(stage.data, samples), bad):
            for row in expanded([sample], stage):
                if told := check.problem(varied(row, stage, seed=seed, number=0).messages):
                    bad[id(sample)] = Offender(sample.origin, f"{sample.origin}: stage {name}: {told}")
    asking = RowCheck(model, list(stages.values())[-1].layout, generation=True)
    for sample in _each([samples.get("test", [])], bad):
        questions = questions_of(sample)
        if questions and (told := asking.problem(questions[-1].prompt)):
            bad[id(sample)] = Offender(sample.origin, f"{sample.origin}: {told}")
    if bad:
        settle(list(bad.values()), invalid, report=report, show=show)
    if report is not None:
        write_list(report, [*left_out, *bad.values()])
    if bad:
        kept = {id(rows): [row for row in rows if id(row) not in bad] for rows in samples.values()}
        if empty := [name for name, rows in samples.items() if not kept[id(rows)]]:
            raise DataError(f"{', '.join(empty)}: no row is left that can be used")
        samples = {name: kept[id(rows)] for name, rows in samples.items()}
    for name, stage in stages.items():
        if not (streamed and stage.data == "align"):
            check_reached(name, stage, sets_of(stage.data, samples), model)
    return dict(samples)


def check_reached(name: str, stage: Stage, sets: Iterable[Sequence[Sample]], model: AttachedModel) -> None:
    """Check that the data of a stage hold what at least one of the parts that it trains learns from.

    Raises:
        DataError: they do not, so that the stage would train nothing.
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
        f"stage {name} trains {', '.join(trained)} alone, and no row of its data holds a medium of type "
        f"{' or '.join(kinds)}; name the media in the data, or leave the stage out with --order"
    )


def _each(sets: Iterable[Sequence[Sample]], bad: Mapping[int, Offender]) -> Iterable[Sample]:
    return (sample for rows in sets for sample in rows if id(sample) not in bad)
