"""Targets of conditionings: computed once, or read from files that nobody vouched for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from inlay.adapters.conversation.messages import MadePart
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.objectives.signals.targets import Targets, read_embedding


class FakeGenerator:
    """Vectors out of the lengths of texts."""

    tokens, width = 2, 3

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        self.asked.append(list(texts))
        return torch.stack([torch.full((2, 3), float(len(text))) for text in texts])


@pytest.fixture
def generator() -> FakeGenerator:
    return FakeGenerator()


@pytest.fixture
def backbone(generator: FakeGenerator) -> Any:
    return SimpleNamespace(generator=lambda modality: generator)


def test_a_caption_is_encoded_once(backbone: Any, generator: FakeGenerator) -> None:
    targets = Targets(backbone)
    parts = [MadePart("image", "ab"), MadePart("image", "abc"), MadePart("image", "ab")]
    found = targets.of("image", parts)
    assert found.shape == (3, 2, 3)
    assert found[:, 0, 0].tolist() == [2.0, 3.0, 2.0]
    assert torch.equal(targets.of("image", parts), found)
    assert generator.asked == [["ab", "abc"]]


def test_above_the_budget_nothing_is_kept(backbone: Any, generator: FakeGenerator) -> None:
    targets = Targets(backbone, budget=2 * 3 * 4)
    parts = [MadePart("image", "ab"), MadePart("image", "abc")]
    first = targets.of("image", parts)
    assert torch.equal(targets.of("image", parts), first)
    assert generator.asked == [["ab", "abc"], ["abc"]]


def test_an_embedding_goes_before_the_text_encoder(backbone: Any, generator: FakeGenerator, tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", np.arange(6, dtype=np.float16).reshape(2, 3))
    part = MadePart("image", "ab", embedding=tmp_path / "1.npy")
    assert Targets(backbone).of("image", [part])[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert generator.asked == []


def test_something_made_needs_words(backbone: Any) -> None:
    with pytest.raises(DataError, match="expected a caption or an embedding"):
        Targets(backbone).of("image", [MadePart("image", source="x.png")])


@pytest.mark.parametrize("shape", [(6,), (1, 1, 6), (1, 6)])
def test_axes_of_length_one_do_not_matter(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "1.npy", np.ones(shape, dtype=np.float32))
    assert read_embedding(tmp_path / "1.npy", 1, 6).shape == (1, 6)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 4), dtype=np.float32), r"expected 2 x 3 .* got \(2, 4\) of float32"),
        (np.ones((3, 2), dtype=np.float32), r"expected the shape 2 x 3, got \(3, 2\)"),
        (np.ones((2, 3), dtype=np.int64), "of int64"),
        (np.full((2, 3), np.nan, dtype=np.float32), "expected finite numbers"),
        (np.array([{"a": 1}] * 6, dtype=object), "expected the embedding"),
    ],
)
def test_bad_embeddings_are_named(tmp_path: Path, array: Any, message: str) -> None:
    np.save(tmp_path / "1.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_embedding(tmp_path / "1.npy", 2, 3)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01", b"PK\x03\x04"])
def test_no_embedding_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"1\.npy: expected the embedding"):
        read_embedding(tmp_path / "1.npy", 2, 3)
    with pytest.raises(DataError, match=r"2\.npy: expected the embedding"):
        read_embedding(tmp_path / "2.npy", 2, 3)
