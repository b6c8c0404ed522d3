"""Reads the held-out questions of an evaluation: a file of any format, VQA v2's two files, or the run's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inlay.recipes.data.formats.read import read_samples
from inlay.recipes.data.formats.vqa.questions import read_vqa, read_vqa_questions
from inlay.recipes.data.rows.columns import parse_columns
from inlay.recipes.data.rows.fields import decode, file_bytes, parse
from inlay.recipes.data.rows.media_values import MediaRules
from inlay.recipes.data.rows.remote import url_cache
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.rows.tables.open_table import json_lines
from inlay.recipes.evaluation.answering import Asked, asked_of
from inlay.recipes.evaluation.generation import split_generation
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.miniature_data import own_data
from inlay.recipes.runs.recorded_data import recorded_data, recorded_rows
from inlay.recipes.settings.errors import SettingsError

__all__ = ["HeldOut", "NoQuestionsError", "read_held_out"]


class NoQuestionsError(SettingsError):
    """Neither the user nor the run names a file of questions."""


@dataclass(frozen=True)
class HeldOut:
    """The questions of an evaluation."""

    path: Path
    """Their file."""
    samples: Sequence[Sample]
    """The samples of the file whose answers are text; for questions without answers, only the user's turn."""
    asked: Sequence[Asked]
    """All questions."""
    answered: bool
    """Whether there are reference answers."""
    making: Sequence[Sample] = ()
    """Conversations with generated media, of the file and of ``make_test``."""
    judged: bool = False
    """Whether the samples are the miniature's, which has a judge of generated media."""


def read_held_out(
    bundle: Path,
    test: Path | None,
    images: Path | None,
    *,
    make_test: Sequence[Path] = (),
    annotations: Path | None = None,
    answers: int = 10,
    pattern: str | None = None,
    links: bool = False,
    format_name: str | None = None,
    columns: str | None = None,
    allow_urls: bool = False,
    downscale: bool = False,
) -> HeldOut:
    """Read the held-out questions, and check that their images exist.

    Args:
        bundle: bundle or run folder; a run's own test set is the default.
        test: file of questions; of a run on files of the user's own, those that its ``config.yaml`` names.
        images: folder of the images; the folder of the file if not given.
        make_test: files of conversations with generated media; a run's own are used with its own test set.
        annotations: VQA v2: the annotations of the questions in ``test``.
        answers: VQA v2: number of human answers per question.
        pattern: VQA v2: file name of an image by its number.
        links: allow absolute paths and symbolic links that lead out of the media folder.
        format_name: name of the format of the questions; recognised by their first rows if not given.
        columns: names of columns, such as ``question=query,answer=label``.
        allow_urls: fetch media from http(s) URLs of public hosts.
        downscale: downscale pictures and clips that are too large.

    Raises:
        NoQuestionsError: no file.
        SettingsError: annotations without questions.
        DataError: invalid rows or media.
    """
    run = RunFolder(bundle).data
    own = own_data(run)
    if test is None and own is None and not make_test and (recorded := recorded_data(bundle)) is not None:
        if recorded.train is not None and recorded.test is None:
            rows = recorded_rows(bundle, recorded)
            making = _read_all(recorded.make_test, images, MediaRules(links=recorded.links))
            return _held_out(recorded.train, rows, making)
        return read_held_out(
            bundle,
            recorded.test,
            images or recorded.images,
            make_test=recorded.make_test,
            annotations=annotations or recorded.test_annotations,
            answers=recorded.answers,
            pattern=pattern or recorded.pattern,
            links=links or recorded.links,
            format_name=format_name or recorded.format,
            columns=columns or recorded.columns,
            allow_urls=allow_urls or recorded.allow_urls,
            downscale=downscale or recorded.downscale,
        )
    rules = MediaRules(links=links, urls=url_cache() if allow_urls else None, downscale=downscale)
    named = parse_columns(columns or "")
    if test is None and annotations is not None:
        raise SettingsError("data: --data.test_annotations needs its questions: give --data.test too")
    if test is None and own is None and make_test:
        return HeldOut(make_test[0], (), (), answered=True, making=_read_all(make_test, images, rules))
    if test is None and (own is None or own.test is None):
        raise NoQuestionsError("no questions: give --data.test FILE (LLaVA JSON, JSONL, ...) and --data.images FOLDER")
    path = test or (own.test if own and own.test else run)
    folder = images or (own.images if test is None and own and own.images else path.parent)
    judged = own is not None and test is None and not make_test
    making = (
        _read_all(own.make_test, folder, rules) if own is not None and judged else _read_all(make_test, images, rules)
    )
    samples: Sequence[Sample]
    if annotations is not None:
        samples = read_vqa(path, annotations, _below(rules, folder), answers=answers, pattern=pattern)
    elif _are_questions(path):
        found = read_vqa_questions(path, _below(rules, folder), pattern=pattern)
        asked = [(question, question.prompt, str(number)) for number, question in found.items()]
        alone = [Sample(name, prompt, str(path)) for _, prompt, name in asked]
        return HeldOut(path, alone, asked, answered=False, making=making)
    else:
        samples = read_samples(path, _below(rules, folder), format_name=format_name, columns=named)
    return _held_out(path, samples, making, judged=judged)


def _held_out(path: Path, samples: Sequence[Sample], making: Sequence[Sample], *, judged: bool = False) -> HeldOut:
    """A metric scores text answers; conversations with generated media have their own figures."""
    text, further = split_generation(samples)
    return HeldOut(path, text, asked_of(text), answered=True, making=[*further, *making], judged=judged)


def _below(rules: MediaRules, folder: Path) -> MediaRules:
    return replace(rules, folder=folder.absolute())


def _read_all(files: Sequence[Path], media: Path | None, rules: MediaRules) -> list[Sample]:
    """Samples of several files, with media in one folder or in the folder of each file."""
    return [sample for file in files for sample in read_samples(file, _below(rules, media or file.parent))]


def _are_questions(path: Path) -> bool:
    """Whether a file has VQA v2's questions."""
    if path.suffix.lower() != ".json" or json_lines(path):
        return False
    document = parse(decode(file_bytes(path), str(path)), str(path))
    return isinstance(document, dict) and "questions" in document
