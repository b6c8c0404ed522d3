"""One LoRA for each row of a batch; whole adapters are in tests/adapters/chat/test_per_row_adapters.py."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from inlay.adapters.llm_parts.lora import LoraConfig, LoraError, LoraPart
from inlay.adapters.llm_parts.lora_per_row import mixed

Make = Callable[..., Any]
IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])


@pytest.fixture
def world(family_of: Make) -> Any:
    """A model, three parts (of rank 4, of rank 2, of fewer linears) and each row's own scores; none for the last."""
    model = family_of("gpt2")
    fields: list[dict[str, Any]] = [{"r": 4}, {"r": 2, "alpha": 3.0}, {"r": 4, "targets": ("c_fc",)}]
    parts = []
    for seed, own in enumerate(fields):
        torch.manual_seed(seed)
        part = LoraPart.for_model(model, LoraConfig(**own)).eval()
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        parts.append(part)
    wanted = []
    with torch.no_grad():
        for part in parts:
            attachment = part.attach(model)
            wanted.append(model(IDS).logits)
            attachment.close()
        wanted.append(model(IDS).logits)
    return model, parts, wanted


@torch.no_grad()
def test_each_row_has_its_own(world: Any) -> None:
    model, parts, wanted = world
    parts[0].attach(model)
    for chosen in ((0, 1, 3), (2, 0, 2), (3, 3, 3)):
        with mixed(parts[0], [parts[index] if index < 3 else None for index in chosen]):
            found = model(IDS).logits
        expected = torch.stack([wanted[index][row] for row, index in enumerate(chosen)])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(model(IDS).logits, wanted[0])


@torch.no_grad()
def test_a_batch_that_is_no_multiple_of_the_rows_is_refused(world: Any) -> None:
    model, parts, _ = world
    parts[0].attach(model)
    with mixed(parts[0], [parts[1], None]), pytest.raises(LoraError, match="a multiple of 2 rows, got an input of"):
        model(IDS)


@torch.no_grad()
def test_other_threads_are_not_affected(world: Any) -> None:
    model, parts, wanted = world
    parts[0].attach(model)
    seen: list[torch.Tensor] = []

    def work() -> None:
        with torch.no_grad():
            seen.append(model(IDS).logits)

    with mixed(parts[0], [parts[1]] * 3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        torch.testing.assert_close(model(IDS).logits, wanted[1], rtol=1e-5, atol=1e-5)
    assert torch.equal(seen[0], wanted[0])


@torch.no_grad()
def test_one_inside_another_gives_way_to_the_outer_one(world: Any) -> None:
    model, parts, wanted = world
    parts[0].attach(model)
    with mixed(parts[0], [parts[1]] * 3):
        with mixed(parts[0], [None] * 3):
            torch.testing.assert_close(model(IDS).logits, wanted[3], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model(IDS).logits, wanted[1], rtol=1e-5, atol=1e-5)
    assert not parts[0].rows.active


def test_what_cannot_be_mixed_is_refused(world: Any) -> None:
    model, parts, _ = world
    with pytest.raises(LoraError, match="not attached"), mixed(parts[0], [parts[1]]):
        pass
    parts[2].attach(model)
    with (
        pytest.raises(LoraError, match=r"c_attn is absent in the attached adapter and \(32, 96\) in another"),
        mixed(parts[2], [parts[0]]),
    ):
        pass
