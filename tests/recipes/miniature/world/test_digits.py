from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inlay.recipes.miniature.world import digits as module
from inlay.recipes.miniature.world.digits import draw_digit, load_digits


def test_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    data = datasets.load_digits()
    ours = load_digits("train") + load_digits("held_out")
    assert np.array_equal(np.stack([digit.pixels for digit in ours]), data.images)
    assert [digit.value for digit in ours] == data.target.tolist()


def test_splits_share_no_picture() -> None:
    train, held_out = ({digit.pixels.tobytes() for digit in load_digits(split)} for split in ("train", "held_out"))
    assert train.isdisjoint(held_out)


def test_file_is_small() -> None:
    assert (Path(module.__file__).parent / "digits.npz").stat().st_size < 80_000


def test_digit_is_dark_on_white() -> None:
    picture = np.asarray(draw_digit(load_digits("train")[0], 48))
    assert picture.shape == (48, 48, 3)
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture.min() < 60
