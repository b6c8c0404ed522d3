"""Checks of the arguments of a generator, before anything is computed with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from numbers import Integral, Real

from inlay.adapters.generators.protocol import GeneratorError, MediaSize, Seed

__all__ = [
    "MAX_SIDE",
    "check_guidance",
    "check_number",
    "check_sides",
    "check_texts",
    "check_whole",
    "seeds_of",
]

MAX_SIDE = 8192
"""Upper limit for a side in pixels and for the number of frames."""
MAX_SEED = 2**64 - 1


def check_whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number between two bounds, both inclusive; NumPy's integers are accepted, bools are not.

    Raises:
        GeneratorError: anything else.
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and low <= int(value) <= high:
        return int(value)
    raise GeneratorError(f"{name}: expected a whole number from {low} to {high}, got {value!r}")


def check_number(name: str, value: object, low: float, high: float = math.inf, unit: str = "") -> float:
    """A finite number between two bounds, both inclusive.

    Raises:
        GeneratorError: anything else.
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        with suppress(OverflowError):  # a whole number may be too large for a float
            number = float(value)
            if math.isfinite(number) and low <= number <= high:
                return number
    upper = "" if math.isinf(high) else f" to {high:g}"
    raise GeneratorError(
        f"{name}: expected {'a finite number' if not upper else 'a number'} from {low:.3g}{upper}{unit}, got {value!r}"
    )


def check_guidance(value: object) -> float:
    """The guidance scale: a finite number from 0.

    Raises:
        GeneratorError: anything else.
    """
    return check_number("guidance_scale", value, 0)


def seeds_of(seed: Seed, count: int) -> list[int] | None:
    """One seed for each of ``count`` media.

    Raises:
        GeneratorError: a number of seeds that differs from ``count``, or a seed that is not a whole number of 64 bits.

    Example:
        >>> seeds_of(3, 2)
        [3, 4]
    """
    if seed is None:
        return None
    if isinstance(seed, Integral) or not isinstance(seed, Sequence) or isinstance(seed, str):
        first = check_whole("seed", seed, 0, MAX_SEED - max(count - 1, 0))
        return [first + index for index in range(count)]
    if len(seed) != count:
        raise GeneratorError(f"seed: expected one number, or {count} of them for {count} media, got {len(seed)}")
    return [check_whole("seed", number, 0, MAX_SEED) for number in seed]


def check_texts(texts: Sequence[str]) -> list[str]:
    """A list of texts.

    Raises:
        GeneratorError: a single text, whose characters would be taken for texts, or something that is not a text.
    """
    if isinstance(texts, str) or not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise GeneratorError(f"texts: expected a list of strings, got {texts!r}")
    return list(texts)


def check_sides(size: MediaSize, count: int, factor: int) -> tuple[int, ...]:
    """A size whose last two numbers, height and width in pixels, the decoder can produce.

    Raises:
        GeneratorError: another count of numbers, or a side that is not a multiple of ``factor``.
    """
    whole = isinstance(size, (tuple, list)) and all(isinstance(n, Integral) and not isinstance(n, bool) for n in size)
    if not isinstance(size, (tuple, list)) or not whole or len(size) != count:
        names = "(height, width)" if count == 2 else "(frames, height, width)"
        raise GeneratorError(f"size: expected {names} as whole numbers, got {size!r}")
    if any(not 1 <= side <= MAX_SIDE for side in size) or any(side % factor for side in size[-2:]):
        raise GeneratorError(
            f"size: expected sides from {factor} to {MAX_SIDE} that are multiples of {factor}, got {tuple(size)}"
        )
    return tuple(int(side) for side in size)
