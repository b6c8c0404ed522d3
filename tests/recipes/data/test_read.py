"""The format is chosen by the suffix, and the images are looked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.data import DataError, read_samples


def test_json_is_llava(write_json: Callable[[Any], Path], item: Callable[..., dict[str, Any]]) -> None:
    assert len(read_samples(write_json([item("a", "b")]))) == 1


def test_jsonl_is_messages(write_lines: Callable[..., Path], line: Callable[..., dict[str, Any]]) -> None:
    assert len(read_samples(str(write_lines(line("a", "b"), line("c", "d"))))) == 2


@pytest.mark.parametrize("name", ["train.csv", "train", "train.json.gz"])
def test_another_suffix_is_an_error(name: str) -> None:
    with pytest.raises(DataError, match=r"expected a file that ends in \.json or \.jsonl"):
        read_samples(name)


def test_missing_images_are_found_up_front(
    write_json: Callable[[Any], Path], item: Callable[..., dict[str, Any]], images: Path
) -> None:
    with pytest.raises(DataError, match=r"item 0: .*gone\.png: no such file"):
        read_samples(write_json([item("<image>a", "b", image="gone.png")]), images)
