"""Formats of one's own: what is checked when one is registered, and that it is asked before those of the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.parts.registration import RegistrationError
from inlay.recipes import register_format
from inlay.recipes.data import DataError, Offenders, Sample, described, read_samples
from inlay.recipes.data.formats.read import read_rows
from inlay.recipes.data.formats.registry import FORMATS, Fields


def read_lines(path: Path, images: Path | None, *, offenders: Offenders) -> list[Sample]:
    """``picture|words`` a line."""
    samples = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"{path}, line {number}"
        with offenders.row(where):
            if "|" not in line:
                raise DataError(f"{where}: expected picture|words")
            picture, words = line.split("|")
            samples.append(described(str(number), picture, "", words, where))
    return samples


def ends_in_lines(_: Fields, path: Path) -> bool:
    return path.suffix == ".lines"


pytestmark = pytest.mark.usefixtures("own_registrations")


def test_a_format_of_ones_own_reads_a_file_that_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "train.lines"
    path.write_text("1.png|a disc\nnothing\n2.png|a ring\n")
    with pytest.raises(DataError, match=r"expected a file that ends in \.json, \.jsonl, "):
        read_samples(path)
    register_format("lines", read_lines, recognise=ends_in_lines)
    offenders = Offenders(collect=True)
    assert [sample.id for sample in read_rows(path, None, offenders=offenders)] == ["1", "3"]
    assert [found.where for found in offenders.found] == [f"{path}, line 2"]
    with pytest.raises(DataError, match=r"line 2: expected picture\|words"):
        read_samples(path)


@pytest.mark.parametrize(
    ("name", "content", "first"),
    [
        ("a.json", [{"image": "1.png", "text": "a disc"}], {"image": "1.png", "text": "a disc"}),
        ("a.jsonl", {"odd": 1}, {"odd": 1}),
        ("a.json", {"images": [], "annotations": []}, {"images": [], "annotations": []}),
        ("a.json", [3], {}),
    ],
)
def test_it_is_asked_first_with_the_first_record(tmp_path: Path, name: str, content: Any, first: Any) -> None:
    asked: list[Any] = []

    def recognise(given: Mapping[str, Any], path: Path) -> bool:
        asked.append((dict(given), path))
        return True

    def read(path: Path, images: Path | None, *, offenders: Offenders, per: str = "image") -> list[Sample]:
        return [described(per, "1.png", "", "own", "here")]

    (tmp_path / name).write_text(json.dumps(content))
    register_format("own", read, recognise=recognise)
    assert [sample.id for sample in read_rows(tmp_path / name, None, per="caption")] == ["caption"]
    assert asked == [(first, tmp_path / name)]


def test_the_packaged_formats_are_entries_of_the_same_registry() -> None:
    assert next(iter(FORMATS)) == "swift_preference"
    assert list(FORMATS)[-1] == "llava"
    register_format("lines", read_lines, recognise=ends_in_lines)
    register_format("lines", read_lines, recognise=ends_in_lines)
    assert list(FORMATS)[:2] == ["lines", "swift_preference"]


@pytest.mark.parametrize(
    ("name", "read", "recognise", "message"),
    [
        ("a b", read_lines, ends_in_lines, "format: expected a name of letters and digits"),
        ("coco_captions", read_lines, ends_in_lines, "already registered as read_coco_captions"),
        ("own", lambda path: [], ends_in_lines, r"expected a function read\(path, images, \*, offenders\)"),
        ("own", 3, ends_in_lines, r"expected a function read\("),
        ("own", read_lines, lambda first: True, r"expected a function recognise\(first, path\)"),
    ],
)
def test_what_is_no_format_is_refused(name: str, read: Any, recognise: Any, message: str) -> None:
    known = dict(FORMATS)
    with pytest.raises(RegistrationError, match=message):
        register_format(name, read, recognise=recognise)
    assert known == FORMATS
