"""The report of ``inlay check`` on the data: rows, format, media, turns, image sizes; token lengths of each stage.

Of large files evenly spaced rows are measured, and the report gives their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from inlay.adapters.conversation.messages import made_of
from inlay.adapters.core.encode import Encoded
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.media.image import load_image
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.sources import EncodedMedium
from inlay.hub.errors import InlayError
from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.formats.read import recognised
from inlay.recipes.data.load import sets_of
from inlay.recipes.data.rows.columns import parse_columns
from inlay.recipes.data.rows.sample import Sample, input_media
from inlay.recipes.objectives.preference.data import PairData
from inlay.recipes.objectives.preference.pairs import PairRow
from inlay.recipes.settings.run import DataSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.terminal.table import aligned
from inlay.recipes.training.validation import spread

__all__ = [
    "MEASURED",
    "SetFacts",
    "StageFacts",
    "TokenFacts",
    "all_set_facts",
    "quantiles",
    "set_facts",
    "sets_table",
    "token_facts",
]

MEASURED = 2000
"""Rows of a file whose tokens and images are measured."""
SHARES = (0.05, 0.5, 0.95, 1.0)
"""The quantiles in the tables; the last one is the maximum."""


@dataclass(frozen=True, kw_only=True)
class SetFacts:
    """One data set."""

    name: str
    """``train``, ``align``, ``test``, ..."""
    file: str
    format: str
    """Name of the format; ``held out`` for rows that were divided from the training rows, ``miniature`` for generated
    data, ``of the run`` for those of the run that is continued."""
    rows: int
    stages: str
    """The stages that train on it, ``held out`` for rows that none trains on, or ``no stage``."""
    media: Mapping[Modality, tuple[int, int]]
    """Kind of the media -> their number in the measured rows, and the number of different ones."""
    turns: Sequence[int]
    """Questions with an answer, of each measured row."""
    sizes: Sequence[tuple[int, int]]
    """Width and height in pixels of each different picture in the measured rows."""


@dataclass(frozen=True, kw_only=True)
class TokenFacts:
    """Lengths of a stage's rows."""

    rows: int
    lengths: Sequence[int]
    """Positions of each measured row in the LLM, those of its media included."""
    labelled: Sequence[int]
    """Labelled tokens of each measured row."""
    context: int | None
    """The most positions that the LLM takes; None if it has no limit."""

    def lines(self) -> str:
        """The quantiles as a table."""
        head = f"tokens of {len(self.lengths):,} rows" if len(self.lengths) < self.rows else "tokens"
        rows: list[tuple[str, ...]] = [(head, "5 %", "50 %", "95 %", "longest")]
        rows += [("in a row", *map(str, quantiles(self.lengths))), ("labelled", *map(str, quantiles(self.labelled)))]
        limit = "" if self.context is None else f"\nthe LLM takes {self.context:,}"
        return aligned(rows) + limit


@dataclass(frozen=True, kw_only=True)
class StageFacts:
    """One stage: its lines for the user, token lengths and examples."""

    name: str
    amount: str
    """Samples and steps in words."""
    tokens: TokenFacts | None
    """None for an objective without conversations."""
    examples: Sequence[tuple[str, Sequence[tuple[str, bool]], Sequence[tuple[Modality, Any]]]]
    """Id, pieces of text with whether they are labelled, media."""


def quantiles(values: Sequence[int]) -> tuple[int, ...]:
    """The values at 5, 50, 95 and 100 percent.

    Example:
        >>> quantiles(range(101))
        (5, 50, 95, 100)
    """
    ordered = sorted(values)
    return tuple(ordered[round(share * (len(ordered) - 1))] for share in SHARES) if ordered else (0,) * len(SHARES)


def all_set_facts(
    samples: Mapping[str, Sequence[Sample]], stages: Mapping[str, Stage], data: DataSettings
) -> list[SetFacts]:
    """Measure all data sets; a file that is read as captions and as conversations is one.

    Args:
        samples: name -> rows.
        stages: of the run.
        data: the settings that name the files.
    """
    names = {id(rows): name for name, rows in samples.items()}  # of equal sets the last name, train rather than align
    readers: dict[int, list[str]] = {}
    for stage_name, stage in stages.items():
        needed = {"align", "train"} if stage.data == "all" else {stage.data}  # a stream has no rows here
        for rows in sets_of(stage.data, samples) if needed <= set(samples) else ():
            readers.setdefault(id(rows), []).append(stage_name)
    found = []
    for name, rows in samples.items():
        if names[id(rows)] == name:
            rest = "held out" if "test" in name or name == "questions" else "no stage"
            found.append(set_facts(name, rows, data, ", ".join(readers.get(id(rows), ())) or rest))
    return found


def set_facts(name: str, rows: Sequence[Sample], data: DataSettings, stages: str = "") -> SetFacts:
    """Measure one data set.

    Args:
        name: of the set.
        rows: its samples.
        data: the settings that name its file.
        stages: the stages that train on it, in words.
    """
    measured = spread(rows, MEASURED)
    found: dict[Modality, list[Any]] = {}
    for row in measured:
        parts: list[Any] = [*input_media(row), *made_of(row.messages)]
        for part in parts:
            found.setdefault(part.modality, []).append(part.source if part.source is not None else id(part))
    different = {kind: list({_key(source): source for source in own}.values()) for kind, own in found.items()}
    file = _file_of(name, data)
    return SetFacts(
        name=name,
        file="" if file is None else file.name,
        format=_format(name, file, data),
        rows=len(rows),
        stages=stages,
        media={kind: (len(own), len(different[kind])) for kind, own in found.items()},
        turns=[sum(message.role == "assistant" for message in row.messages) for row in measured],
        sizes=[size for source in different.get("image", ()) if (size := _size(source)) is not None],
    )


def sets_table(sets: Sequence[SetFacts]) -> str:
    """The data sets as a table."""
    rows = [("data", "stages", "file", "format", "rows", "media", "turns", "image sizes")]
    for facts in sets:
        media = ", ".join(f"{count:,} {kind} ({unlike:,} different)" for kind, (count, unlike) in facts.media.items())
        turns = f"{min(facts.turns)}-{max(facts.turns)}" if facts.turns else ""
        named = (facts.name, facts.stages, facts.file, facts.format)
        rows.append((*named, f"{facts.rows:,}", media or "none", turns, _sizes(facts.sizes)))
    note = ""
    if any(facts.rows > MEASURED for facts in sets):
        note = f"\nmedia, turns and sizes are those of {MEASURED:,} rows, evenly spaced"
    return aligned(rows) + note


def token_facts(data: Any, context: int | None) -> TokenFacts | None:
    """Measure the rows of a stage; None for a stage without conversations.

    A row of preference data is as long as its longest sequence of prompt and answer.
    """
    if not isinstance(data, (StageData, PairData)):
        return None
    measured = [_encoded(data.row(0, sample)) for sample in spread(data.samples, MEASURED)]
    labels = [[row.labels if row.target is None else row.target for row in rows] for rows in measured]
    return TokenFacts(
        rows=len(data.samples),
        lengths=[max(_longest(row) for row in rows) for rows in measured],
        labelled=[sum(int((own != IGNORE).sum()) for own in row) for row in labels],
        context=context,
    )


def _encoded(row: Encoded | PairRow) -> Sequence[Encoded]:
    return row.rows if isinstance(row, PairRow) else (row,)


def _longest(row: Encoded) -> int:
    """Positions of a row; of branches, which share the prompt, those of the prompt and the longest one."""
    return row.branches[0] + max(row.branches[1:]) if row.branches else len(row.ids)


def _sizes(sizes: Sequence[tuple[int, int]]) -> str:
    """Smallest, middle and largest picture, by the number of pixels."""
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    chosen = dict.fromkeys([ordered[0], ordered[len(ordered) // 2], ordered[-1]]) if ordered else ()
    return " ".join(f"{width}x{height}" for width, height in chosen)


def _size(source: Any) -> tuple[int, int] | None:
    try:
        if isinstance(source, str | Path):
            with Image.open(source) as picture:  # the header alone; the check of the data has judged the file
                return picture.size
        return load_image(source).size
    except (OSError, ValueError, InlayError):
        return None


def _key(source: Any) -> Any:
    return str(source) if isinstance(source, str | Path | EncodedMedium) else id(source)


def _file_of(name: str, data: DataSettings) -> Path | None:
    kind, _, number = name.partition(" ")
    # The test rows of --data.test_size are of the training file; those of a run that is continued have no file.
    held: Any = getattr(data, kind, None) or (data.train if kind == "align" or data.test_size else None)
    file: Path | None = held[int(number) - 1] if number else held
    return file


def _format(name: str, file: Path | None, data: DataSettings) -> str:
    if data.train is None:
        return "miniature"
    if name == "test" and data.test is None:
        return "held out"
    if file is None:
        return "of the run"
    try:
        return recognised(file, data.format, parse_columns(data.columns or ""))
    except (OSError, InlayError):
        return ""
