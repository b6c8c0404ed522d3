"""The loop of all formats of rows: order, repeated ids, offenders, options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.data import DataError, Offenders, Sample, described
from inlay.recipes.data.formats.read_file import read_file
from inlay.recipes.data.rows.media_values import MediaRules


def sample(row: Mapping[str, Any], root: Any, where: str, offenders: Offenders, *, asked: str = "") -> Sample:
    assert isinstance(root, MediaRules)
    if "id" not in row:
        raise DataError(f"{where}, id: missing")
    return described(str(row["id"]), Path("/1.png"), asked, "a", where)


@pytest.fixture
def path(write_lines: Callable[..., Path]) -> Path:
    return write_lines({"id": 2}, {"id": 1}, {"id": 2}, {})


def test_a_repeated_id_is_an_error_or_numbered(path: Path) -> None:
    offenders = Offenders(collect=True)
    assert [row.id for row in read_file(sample, path, None, offenders)] == ["2", "1"]
    assert [found.reason for found in offenders.found] == [
        f"{path}, line 3, id: '2' is also the id of {path}, line 1",
        f"{path}, line 4, id: missing",
    ]
    rows = read_file(sample, path, None, Offenders(collect=True), repeated="number")
    assert [row.id for row in rows] == ["2", "1", "2#2"]


def test_without_a_collection_the_first_error_is_raised(path: Path) -> None:
    with pytest.raises(DataError, match="line 3, id: '2' is also the id of"):
        read_file(sample, path, None)


def test_options_reach_the_converter(path: Path) -> None:
    rows = read_file(sample, path, None, Offenders(collect=True), asked="what?")
    assert rows[0].messages[0].text == "what?"
