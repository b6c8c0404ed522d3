"""The contracts that every preference loss keeps."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from preference_rows import random_answers, random_pairs, rows_for, untouched

from inlay.recipes.objectives.preference.losses.registry import preference_loss, preference_loss_names
from inlay.recipes.objectives.preference.losses.streams import LossError, UnpairedLogProbs

NAMES = preference_loss_names()


def trained(rows: Any) -> dict[str, torch.Tensor]:
    """The streams of the trained model."""
    return {name: value for name, value in vars(rows).items() if getattr(value, "requires_grad", False)}


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_one_number_per_row(name: str) -> None:
    loss = preference_loss(name)
    assert loss(rows_for(loss, 5)).shape == (5,)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_formula(name: str) -> None:
    loss = preference_loss(name)
    rows = rows_for(loss, 4, seed=3)
    streams = trained(rows)

    def total(*values: torch.Tensor) -> torch.Tensor:
        return loss(replace(rows, **dict(zip(streams, values, strict=True))))

    assert torch.autograd.gradcheck(total, tuple(streams.values()))


@pytest.mark.parametrize("name", NAMES)
def test_an_untouched_policy_has_the_first_loss(name: str) -> None:
    loss = preference_loss(name)
    first, values = loss.first_step(), loss(untouched(rows_for(loss)))
    if first is None:
        assert name in ("simpo", "cpo", "orpo", "sft", "rpo", "mpo")
        assert not torch.allclose(values, values[:1])
    else:
        torch.testing.assert_close(values, torch.full_like(values, first), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ratio", [-3e3, -50.0, 50.0, 3e3])
def test_extreme_float32_rows_have_finite_losses_and_gradients(name: str, ratio: float) -> None:
    loss = preference_loss(name)
    rows = rows_for(loss, 4, dtype=torch.float32)
    streams = trained(rows)
    moved = {key: (-6e3 + ratio * (1 + place) * torch.ones(4)).requires_grad_() for place, key in enumerate(streams)}
    fixed = {f"ref_{key}": torch.full((4,), -6e3) for key in streams}
    values = loss(replace(rows, **moved, **fixed))
    values.sum().backward()
    gradients = [value.grad for value in moved.values() if value.grad is not None]
    assert values.isfinite().all()
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", NAMES)
def test_float32_agrees_with_float64(name: str) -> None:
    loss = preference_loss(name)
    exact, single = (
        loss(rows_for(loss)),
        loss(rows_for(loss, dtype=torch.float64).__class__(**_float32(rows_for(loss)))),
    )
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=2e-5, atol=2e-5)


def _float32(rows: Any) -> dict[str, Any]:
    given = vars(rows)
    return {
        name: value.float() if getattr(value, "dtype", None) == torch.float64 else value
        for name, value in given.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_stream_is_named(name: str) -> None:
    loss = preference_loss(name)
    rows = rows_for(loss)
    for stream in loss.needs:
        with pytest.raises(LossError, match=rf"^{name}: expected {stream} "):
            loss(replace(rows, **{stream: None}))


@pytest.mark.parametrize("name", NAMES)
def test_streams_that_are_not_declared_are_not_read(name: str) -> None:
    loss = preference_loss(name)
    rows = rows_for(loss)
    optional = {field.name for field in fields(rows) if field.default is None} - set(loss.needs)
    torch.testing.assert_close(loss(replace(rows, **dict.fromkeys(optional))), loss(rows))


@pytest.mark.parametrize("name", NAMES)
def test_rows_depend_on_each_other_only_in_batch_level_losses(name: str) -> None:
    loss = preference_loss(name)
    if loss.rows is UnpairedLogProbs or loss.batch_level:
        assert loss.batch_level == (name != "apo_zero_unpaired")
        return
    rows = rows_for(loss, 3)
    alone = [
        type(rows)(**{key: None if value is None else value[[place]] for key, value in vars(rows).items()})
        for place in range(3)
    ]
    torch.testing.assert_close(torch.cat([loss(row) for row in alone]), loss(rows))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sft"])
@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
def test_a_temperature_is_above_0(name: str, beta: float) -> None:
    with pytest.raises(LossError, match=rf"^{name}: beta: expected a number above 0, got {beta}"):
        preference_loss(name, beta=beta)


@pytest.mark.parametrize("name", NAMES)
def test_no_reference_is_needed_only_without_its_streams(name: str) -> None:
    assert preference_loss(name).needs_reference == (name not in ("simpo", "cpo", "orpo", "sft"))


def test_pairs_and_single_answers_are_not_mixed_up() -> None:
    with pytest.raises(LossError, match=r"kto: expected single answers with labels \(UnpairedLogProbs\), got PairLog"):
        preference_loss("kto")(random_pairs())
    with pytest.raises(LossError, match=r"sigmoid: expected pairs \(PairLogProbs\), got UnpairedLogProbs"):
        preference_loss("sigmoid")(random_answers())
