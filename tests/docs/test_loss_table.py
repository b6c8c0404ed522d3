"""The table of losses in docs/howto/alignment.md: every registered loss, and its value for an untouched policy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from preference_rows import rows_for, untouched

from inlay.recipes.objectives.preference.losses.registry import preference_loss, preference_loss_names

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "alignment.md"


def first_steps() -> dict[str, str]:
    """Loss -> its cell in the last column."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    cells = [re.split(r"(?<!\\)\|", line.strip("| ")) for line in rows]
    return {name: row[-1].strip() for row in cells for name in re.findall(r"`(\w+)`", row[0]) if len(row) == 4}


def test_the_table_has_every_loss_of_the_package() -> None:
    assert set(first_steps()) == set(preference_loss_names())


@pytest.mark.parametrize("name", preference_loss_names())
def test_the_first_step_on_the_page_is_that_of_an_untouched_policy(name: str) -> None:
    loss, written = preference_loss(name), first_steps()[name]
    values = loss(untouched(rows_for(loss)))
    if written == "depends on the data":
        assert not torch.allclose(values, values[:1])
        return
    number = float(written.rpartition("= ")[2])
    assert values.tolist() == pytest.approx([number] * len(values), abs=5e-5)
