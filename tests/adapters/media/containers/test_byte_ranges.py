"""A view of some ranges of a file reads as the file of these ranges alone."""

from __future__ import annotations

import io
import os

import pytest

from inlay.adapters.media.containers.byte_ranges import ByteRanges


@pytest.fixture
def view() -> ByteRanges:
    view = ByteRanges(io.BytesIO(b"0123456789"))
    for start, stop in ((0, 2), (2, 3), (3, 3), (5, 7), (9, 20)):
        view.add(start, stop)
    return view


def test_ranges_follow_each_other_without_a_gap(view: ByteRanges) -> None:
    assert view.read() == b"012569"
    assert view.read() == b""


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_any_size_of_read_gives_the_same_bytes(view: ByteRanges, size: int) -> None:
    assert b"".join(iter(lambda: view.read(size), b"")) == b"012569"


def test_positions_are_those_of_the_view(view: ByteRanges) -> None:
    assert view.seek(4) == 4
    assert view.read(1) == b"6"
    assert (view.tell(), view.seek(-3, os.SEEK_CUR)) == (5, 2)
    assert view.read(2) == b"25"
    assert view.seek(-100) == 0
