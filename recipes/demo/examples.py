"""Examples for the page: held-out questions of a run, or questions of a folder, with media that every browser shows."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.media.errors import MediaError
from inlay.adapters.media.features import Features
from inlay.adapters.media.image import path_inside
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.hub.errors import InlayError
from inlay.hub.safety.strict_json import read_object
from inlay.recipes.data.formats.read import read_rows
from inlay.recipes.data.rows.sample import Question, Sample, questions_of
from inlay.recipes.media_files.save import Encoded, encoded
from inlay.recipes.runs.backbone import config_of_bundle
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.miniature_data import own_data
from inlay.recipes.serve.errors import ServeError
from inlay.recipes.settings.plain_yaml import parse_yaml
from inlay.recipes.settings.run import DataSettings

__all__ = ["EXAMPLES", "Example", "examples_of", "read_examples"]

EXAMPLES = "examples"
"""The folder of examples in a Space."""

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
                files = [(part.modality, _encoded(part.modality, part.source)) for part in media]
                found[key] = Example(text, tuple(files))
    except (InlayError, OSError) as error:
        print(f"warning: {run}: no examples for the page: {error}", file=sys.stderr)
    return _spread(found, most)


def read_examples(folder: Path) -> list[Example]:
    """The examples of ``examples.json`` in a folder: ``{"examples": [{"question", "media": [{"kind", "file"}]}]}``.

    Args:
        folder: the files of the media must be inside.

    Raises:
        ServeError: not in this form; names the example.
        MediaError: a medium that cannot be read.
    """
    path, found = folder / "examples.json", []
    listed = read_object(path.read_bytes(), str(path), max_bytes=1 << 20).get("examples")
    for place, item in enumerate(listed if isinstance(listed, list) else [None]):
        try:
            media = tuple((medium["kind"], str(medium["file"])) for medium in item.get("media", []))
            question, kinds = item["question"], {kind for kind, _ in media}
            if not isinstance(question, str) or not kinds <= set(GENERATED):
                raise TypeError
        except (AttributeError, KeyError, TypeError):
            raise ServeError(
                f"{path}: examples[{place}]: expected an object with question and media, a list of objects with kind "
                f"({', '.join(GENERATED)}) and file"
            ) from None
        files = [(kind, _encoded(kind, path_inside(name, folder))) for kind, name in media]
        found.append(Example(question, tuple(files)))
    return found


def _encoded(kind: Modality, source: object) -> Encoded:
    medium = load_medium(kind, source)
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
    """Held-out questions of the run; requests for media come last."""
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
    held = parse_yaml(config.read_text(encoding="utf-8")).get("data")
    if not isinstance(held, dict):
        return None
    test, images = (Path(held[name]) if isinstance(held.get(name), str) else None for name in ("test", "images"))
    if test is None or not test.is_file():
        return None
    return DataSettings(test=test, images=images, format=held.get("format"))
