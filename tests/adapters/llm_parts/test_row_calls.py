"""Calls in the place of an embedding's and a head's own."""

from __future__ import annotations

import torch
from torch import nn

from inlay.adapters.llm_parts.row_calls import HeadCall, RowEmbeddings, replace_call
from inlay.adapters.parts.undo import Undo

ROWS, PLACES = torch.arange(6.0).view(2, 3), torch.tensor([1, 5])


def test_rows_stand_in_for_ids_inside_and_outside_the_table() -> None:
    table = nn.Embedding(4, 3)
    given = RowEmbeddings(table.forward, ROWS, PLACES)(torch.tensor([[0, 1, 5]]))
    assert torch.equal(given, torch.stack([table.weight[0], ROWS[0], ROWS[1]])[None])


def test_a_replaced_call_is_put_back_and_does_nothing_afterwards() -> None:
    table, head = nn.Embedding(4, 3), nn.Linear(3, 4)
    calls = RowEmbeddings(table.forward, ROWS, PLACES), HeadCall(head.forward, ROWS, PLACES)
    undo = Undo()
    for module, call in zip((table, head), calls, strict=True):
        replace_call(module, call, undo)
    assert head(torch.ones(1, 3)).shape == (1, 6)
    undo.close()
    assert not any("forward" in module.__dict__ for module in (table, head))
    ids, hidden = torch.tensor([1, 2]), torch.ones(1, 3)
    assert torch.equal(calls[0](ids), table(ids))
    assert torch.equal(calls[1](hidden), head(hidden))


def test_undo_is_registered_before_the_change() -> None:
    class Broken(dict[str, object]):
        def __setitem__(self, name: str, value: object) -> None:
            super().__setitem__(name, value)
            raise KeyboardInterrupt

    table, undo = nn.Embedding(4, 3), Undo()
    table.__dict__ = Broken(table.__dict__)
    try:
        replace_call(table, RowEmbeddings(table.forward, ROWS, PLACES), undo)
    except KeyboardInterrupt:
        undo.close()
    assert "forward" not in table.__dict__
