"""The loss plan: labelled positions as indices, made once on the CPU, so that a step never waits for its device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from inlay.adapters.language.labels import IGNORE
from inlay.adapters.language.packing.loss_plan import LossPlan

WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique", "repeat_interleave.Tensor")


class HostSyncs(TorchDispatchMode):
    """Names of the operations that would make the host wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.")
        indices = args[1] if name.startswith(("index.Tensor", "index_put")) else ()
        by_mask = any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices)
        if by_mask or name.startswith(WAITING):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def labels() -> Tensor:
    return torch.tensor([[IGNORE, 7, 8, IGNORE, IGNORE, IGNORE], [IGNORE, IGNORE, IGNORE, 9, IGNORE, IGNORE]])


def test_rows_pick_what_the_mask_of_rows_picks(llm_of: Any, labels: Tensor) -> None:
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]])
    plan = llm_of("llama").plan(labels, mask)
    hidden = torch.randn(2, 6, 4)
    assert plan.targets.tolist() == [7, 8, 9]
    assert torch.equal(plan.pick(hidden), hidden[plan.rows])
    assert torch.equal(plan.pick(hidden[:, : plan.width]), hidden[plan.rows])
    assert plan.packed is None  # nothing of the three positions that are read is padding
    assert plan.width == 3


def test_packed_places_are_those_of_the_rows(llm_of: Any, labels: Tensor) -> None:
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]])
    plan = llm_of("llama").plan(labels, mask)
    assert plan.packed is not None
    hidden = torch.randn(2, 6, 4)
    packed = plan.packed.flat(hidden[:, : plan.width])
    assert torch.equal(plan.pick_packed(packed), hidden[plan.rows])


def test_a_label_that_padding_predicts_is_part_of_the_loss_and_not_packed(llm_of: Any, labels: Tensor) -> None:
    llm = llm_of("llama")
    mask = torch.tensor([[0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]])
    plan = llm.plan(labels, mask)
    assert plan.padded
    assert plan.packed is None
    embeddings = torch.randn(2, 6, 32)
    torch.testing.assert_close(llm.loss(embeddings, mask, plan), llm.loss(embeddings, mask, plan, prune=False))


def test_no_label_makes_an_empty_plan(llm_of: Any, labels: Tensor) -> None:
    plan = llm_of("llama").plan(torch.full_like(labels, IGNORE), torch.ones_like(labels))
    assert (len(plan), plan.width) == (0, 0)


def test_a_target_s_plan_is_that_of_its_steps(llm_of: Any, labels: Tensor) -> None:
    target = torch.tensor([[5, 6, 1], [7, 1, IGNORE]])
    plan = llm_of("t5").plan(labels, torch.ones_like(labels), target)
    assert plan.targets.tolist() == [5, 6, 1, 7, 1]
    hidden = torch.randn(2, 3, 4)
    assert torch.equal(plan.pick(hidden), hidden[plan.rows])


@pytest.mark.parametrize("how", ["full", "packed", "token rows"])
def test_a_step_with_a_plan_reads_nothing_back_from_its_device(llm_of: Any, how: str) -> None:
    from inlay.adapters.llm_parts.token_rows import TokenRows, TokensConfig

    llm = llm_of("llama")
    if how == "token rows":
        TokenRows.for_language(llm, TokensConfig.numbered(32, image=2)).attach(llm)
    mask = torch.ones(2, 6, dtype=torch.long)
    if how in ("packed", "token rows"):
        mask[0, 3:] = 0
    rows = torch.zeros(2, 6, dtype=torch.bool)
    rows[0, 1] = rows[1, 4] = True
    plan = LossPlan.of(rows, torch.tensor([7, 8]), mask)
    assert (plan.packed is None) is (how == "full")
    embeddings = torch.randn(2, 6, 32, requires_grad=True)
    llm.loss(embeddings, mask, plan)  # the first call tests the fast paths
    with HostSyncs() as syncs:
        llm.loss(embeddings, mask, plan).backward()
    # Without padding transformers itself looks once whether the positions are those of packed rows.
    assert syncs.seen == (["_local_scalar_dense.default"] if how == "full" else [])


def test_the_count_of_host_syncs_sees_a_mask_and_a_number() -> None:
    values, mask = torch.arange(3.0), torch.tensor([True, False, True])
    with HostSyncs() as syncs:
        values[mask]
        bool(mask.any())
        values[torch.tensor([0, 2])]
    assert syncs.seen == ["index.Tensor", "_local_scalar_dense.default"]
