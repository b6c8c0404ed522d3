"""What a new adapter takes from the bundle of ``--begin``, and what it says about the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from inlay.recipes.training.prepare import _begin as begin


def test_parts_that_are_not_taken_over_are_named(backbone_of: Any, adapter_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    held, fresh = adapter_of(backbone), adapter_of(backbone)
    with torch.no_grad():
        next(held.inputs.parameters()).add_(1)
    held.attach(backbone)
    held.save_pretrained(tmp_path / "bundle")
    held.detach()
    said = begin(fresh, tmp_path / "bundle")
    assert "its inputs.image are the start; not used: its lora (system align trains all parts" in said
    assert torch.equal(next(fresh.inputs.parameters()).bfloat16(), next(held.inputs.parameters()).bfloat16())
