"""Real handwriting: the 1797 digits of scikit-learn, shipped as `digits.npz`.

They are the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (UCI,
https://doi.org/10.24432/C50P49, CC BY 4.0; see `digits.LICENSE.txt`). The last 360 are held out, so most of their
writers do not occur in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from inlay.recipes.miniature.world.questions import Question

if TYPE_CHECKING:
    from random import Random

    from numpy.typing import NDArray

    from inlay.recipes.miniature.world.scenes import Split

HELD_OUT = 360  # the last of the 1797
DIGIT_QUESTIONS = ("which digit is shown?", "what digit is this?", "which number is written here?")


@dataclass(frozen=True, slots=True, eq=False)
class Digit:
    """One handwritten digit."""

    value: int
    """0 to 9."""
    pixels: NDArray[np.uint8]
    """Shape (8, 8), 0 for paper to 16 for ink."""


@cache
def _all_digits() -> tuple[Digit, ...]:
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        return tuple(Digit(int(value), pixels) for value, pixels in zip(file["digits"], file["images"], strict=True))


def load_digits(split: Split) -> tuple[Digit, ...]:
    """The digits of one split, in scikit-learn's order.

    Example:
        >>> len(load_digits("train")), len(load_digits("held_out"))
        (1437, 360)
    """
    digits = _all_digits()
    return digits[:-HELD_OUT] if split == "train" else digits[-HELD_OUT:]


def draw_digit(digit: Digit, size: int = 48) -> Image.Image:
    """The digit as dark ink on white paper: an RGB image of size x size, enlarged by bicubic interpolation."""
    grey = 255 - np.minimum(digit.pixels.astype(np.int16) * 16, 255).astype(np.uint8)
    image = Image.fromarray(grey).resize((size * 5 // 6, size * 5 // 6), Image.Resampling.BICUBIC)
    paper = Image.new("L", (size, size), 255)
    paper.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return paper.convert("RGB")


def digit_caption(value: int) -> str:
    """The caption of a digit.

    Example:
        >>> digit_caption(7)
        'the handwritten digit 7.'
    """
    return f"the handwritten digit {value}."


def digit_question(value: int, rng: Random) -> Question:
    """A question about a picture of a digit."""
    return Question("digit", rng.choice(DIGIT_QUESTIONS), str(value))
