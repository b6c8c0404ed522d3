"""docs/reference/hostile_input.md says of each attack what is done, and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "hostile_input.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| [\d, ]*\|", line)]
"""Attack, what is done, test; the number in front is in the first cell, or empty."""


def test_every_attack_has_a_sentence() -> None:
    assert len(ROWS) > 60
    assert [row[-3] for row in ROWS if not re.fullmatch(r"[A-Z`].*\.", row[-2])] == []


def test_every_named_test_exists() -> None:
    named = {name for row in ROWS for name in re.findall(r"`([\w/]+\.py)`", row[-1])}
    assert len(named) > 25
    assert {name for name in named if not (ROOT / "tests" / name).exists()} == set()


def test_every_number_is_there() -> None:
    numbers = {int(number) for row in ROWS if len(row) == 4 for number in re.findall(r"\d+", row[0])}
    assert numbers == set(range(1, 61))
