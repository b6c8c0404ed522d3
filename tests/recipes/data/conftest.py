"""Data files as the tests of the formats write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with two pictures, one of them in a sub-folder."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in ("1.png", "sub/2.png"):
        Image.new("RGB", (4, 4)).save(folder / name)
    return folder


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[Any], Path]:
    def write(value: Any) -> Path:
        path = tmp_path / "train.json"
        path.write_text(json.dumps(value), encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: Any, end: str = "\n") -> Path:
        path = tmp_path / "train.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_bytes("".join(text + end for text in texts).encode())
        return path

    return write


@pytest.fixture
def item() -> Callable[..., dict[str, Any]]:
    """A LLaVA item out of what is said in turn, human first."""

    def make(*said: str, **fields: Any) -> dict[str, Any]:
        turns = [{"from": ("human", "gpt")[index % 2], "value": value} for index, value in enumerate(said)]
        return {"id": "7", "conversations": turns, **fields}

    return make


@pytest.fixture
def line() -> Callable[..., dict[str, Any]]:
    """A JSONL record out of contents in turn, user first."""

    def make(*contents: Any, **fields: Any) -> dict[str, Any]:
        roles = ("user", "assistant")
        return {"messages": [{"role": roles[n % 2], "content": c} for n, c in enumerate(contents)], **fields}

    return make
