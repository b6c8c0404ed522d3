"""Examples for the page: held-out questions of a run, with their media in forms that every browser shows."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.media.errors import MediaError
from inlay.adapters.media.features import Features
from inlay.adapters.media.load import load_medium
from inlay.hub.errors import InlayError
from inlay.recipes.data.formats.read import read_rows
from inlay.recipes.data.rows.sample import Question, Sample, questions_of
from inlay.recipes.media_files.save import Encoded, encoded
from inlay.recipes.runs.backbone import config_of_bundle
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.miniature_data import own_data
from inlay.recipes.settings.plain_yaml import parse_yaml
from inlay.recipes.settings.run import DataSettings

__all__ = ["Example", "examples_of"]

_ROWS = 500  # of each file; the first of them are enough


@dataclass(frozen=True)
class Example:
    """A question with its media."""

    question: str
    media: tuple[tuple[str, Encoded], ...] = ()
    """Modality and file: PNG, WAV or GIF."""


def examples_of(run: str | Path, most: int = 6) -> list[Example]:
    """Held-out questions of a run: one of each kind and combination of media, and one request for each modality.

    Args:
        run: a run folder or its bundle; anything else has no examples.
        most: the largest number of examples.
    """
    found: dict[tuple[str, ...], Example] = {}
    try:
        for question in _questions(run):
            if len(question.prompt) > 1 or not (text := question.prompt[0].text.strip()):
                continue
            media = [part for part in question.prompt[0].content if isinstance(part, MediaPart)]
            made = [f"to {part.modality}" for part in question.made]
            key = (question.kind, *(part.modality for part in media), *made)
            if key not in found and len(found) < 3 * most:
                found[key] = Example(text, tuple((part.modality, _file(part)) for part in media))
    except (InlayError, OSError) as error:
        print(f"warning: {run}: no examples for the page: {error}", file=sys.stderr)
    return _spread(found, most)


def _file(part: MediaPart) -> Encoded:
    medium = load_medium(part.modality, part.source)
    if isinstance(medium, Features):
        raise MediaError("a browser shows pictures, sounds and clips, not features")
    return encoded(medium)


def _spread(found: dict[tuple[str, ...], Example], most: int) -> list[Example]:
    """Examples of different combinations of modalities first, then further kinds of question."""
    groups: dict[tuple[str, ...], list[Example]] = {}
    for (_, *modalities), example in found.items():
        groups.setdefault(tuple(modalities), []).append(example)
    longest = max(map(len, groups.values()), default=0)
    return [group[place] for place in range(longest) for group in groups.values() if place < len(group)][:most]


def _questions(run: str | Path) -> Iterator[Question]:
    """Held-out questions of the run, those that ask for media last."""
    config = config_of_bundle(Path(run))
    if config is None:
        return
    data = own_data(RunFolder(config.parent).data) or _named(config)
    if data is None:
        return
    for path in filter(None, (data.test, *data.make_test)):
        for sample in islice(_rows(path, data), _ROWS):
            yield from questions_of(sample)


def _rows(path: Path, data: DataSettings) -> Iterable[Sample]:
    return read_rows(path, data.images, format_name=data.format)


def _named(config: Path) -> DataSettings | None:
    """The held-out files that the settings of a run name, where they are still there."""
    held = parse_yaml(config.read_text(encoding="utf-8")).get("data") or {}
    test, images = (Path(held[name]) if isinstance(held.get(name), str) else None for name in ("test", "images"))
    if test is None or not test.is_file():
        return None
    return DataSettings(test=test, images=images, format=held.get("format"))
