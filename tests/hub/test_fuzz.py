"""The fuzz target on mutations of honest inputs: a fixed few thousand each time, many more as ``slow``."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest

TARGET = Path(__file__).resolve().parents[1] / "fuzz" / "fuzz_bundle.py"
TOKENS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"null",
    b"1e999",
    b"-1",
    b"\\ud800",
    b"\xff",
    b"\0",
    b"__metadata__",
]


@pytest.fixture(scope="module")
def target() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_bundle", TARGET)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _mutated(data: bytes, rng: random.Random) -> bytes:
    held = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(1, len(held) + 1)
        match rng.randrange(4):
            case 0 if at < len(held):
                held[at] ^= 1 << rng.randrange(8)
            case 1:
                held[at:at] = rng.choice(TOKENS)
            case 2:
                del held[at : at + rng.randint(1, 8)]
            case _:
                cut = rng.randrange(1, len(held) + 1)
                held[at:at] = held[min(at, cut) : max(at, cut)]
        if len(held) < 2:
            return data
    return bytes(held)


@pytest.mark.parametrize("count", [3000, pytest.param(300_000, marks=pytest.mark.slow)])
def test_mutations_give_a_value_or_the_one_error(target: ModuleType, count: int) -> None:
    rng = random.Random(0)
    seeds = target.seeds()
    read = sum(target.one_input(_mutated(rng.choice(seeds), rng)) for _ in range(count))
    assert 0 < read < count, "both outcomes must be met"


def test_honest_inputs_are_read(target: ModuleType) -> None:
    assert all(target.one_input(seed) for seed in target.seeds())
    assert len(target.seeds()) == len(target.PARSERS)
