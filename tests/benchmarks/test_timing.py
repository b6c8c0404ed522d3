"""The clock of the benchmarks: who runs when, whose seconds count, what is void."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
import torch
from torch import nn


def test_every_pair_of_three_sides_takes_turns_as_abba(module_of: Any) -> None:
    calls: list[str] = []
    sides = [lambda name=name: calls.append(name) for name in "abc"]
    times = module_of("timing").in_turn(sides, 2)
    assert "".join(calls) == "abccba" * 2
    assert [len(side.wall) for side in times] == [4, 4, 4]


def test_a_side_that_reads_the_clock_itself_is_believed(module_of: Any) -> None:
    timing = module_of("timing")
    (times,) = timing.in_turn([lambda: timing.Spent(5.0, 7.0)], 1)
    assert (times.wall, times.cpu, times.median, times.spread) == ([5.0, 5.0], [7.0, 7.0], 5.0, 0.0)


def comparison(module_of: Any, better: str, target: float, void: bool = False) -> Any:
    times = module_of("timing").Times
    theirs, ours = times([4.0, 4.0], [6.0, 6.0]), times([2.0, 2.0], [2.0, 2.0])
    one = module_of("outcome").Comparison
    return one.of_times("tuned", "what", theirs, ours, target=target, better=better, void=void)


@pytest.mark.parametrize(
    ("better", "target", "ratio", "cpu", "met"),
    [("higher", 2.0, 2.0, 3.0, True), ("higher", 2.1, 2.0, 3.0, False), ("lower", 0.4, 0.5, 1 / 3, False)],
)
def test_ratios_and_targets(module_of: Any, better: str, target: float, ratio: float, cpu: float, met: bool) -> None:
    found = comparison(module_of, better, target)
    assert (found.ratio, found.cpu_ratio, found.met) == (ratio, pytest.approx(cpu), met)


def test_what_is_void_has_no_ratio_but_all_raw_figures(module_of: Any) -> None:
    said = comparison(module_of, "higher", 1.0, void=True).as_json()
    assert (said["ratio"], said["cpu_ratio"], said["met"]) == (None, None, None)
    assert said["theirs"]["wall"] == [4.0, 4.0]


GOOD: dict[str, Any] = {"precision": "32-true", "loss": 9e-5, "gradients": 9e-5, "curve": 0.009}


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({}, ""),
        ({"loss": 2e-4}, "losses"),
        ({"gradients": 2e-4}, "gradients"),
        ({"gradients": float("nan")}, "gradients"),
        ({"curve": 0.011}, "curves"),
        ({"precision": "bf16-true", "loss": 1e-2, "rounding": (0.019, 0.001)}, ""),
        ({"precision": "bf16-true", "gradients": 2e-4, "rounding": (0.01, 0.01)}, "gradients"),
        ({"precision": "bf16-true", "rounding": (0.09, 0.05)}, ""),
        ({"precision": "bf16-true", "rounding": (0.11, 0.05)}, "bfloat16"),
    ],
)
def test_when_a_comparison_is_void(module_of: Any, changed: dict[str, Any], word: str) -> None:
    outcome = module_of("outcome")
    checks = outcome.Checks(**GOOD | changed)
    said = outcome.Outcome(title="x", checks=checks).as_json()
    assert said["status"] == ("void" if word else "ok")
    assert word in said["why"]


def test_differences_of_steps(module_of: Any) -> None:
    equal = module_of("equal")
    theirs = {"loss": torch.tensor(2.0), "a": torch.tensor([3.0, 4.0]), "tiny": torch.tensor([1e-9])}
    ours = {"loss": torch.tensor(2.0), "a": torch.tensor([3.0, 4.5]), "tiny": torch.tensor([2e-9])}
    assert equal.differ(ours, theirs) == pytest.approx(0.1)
    assert equal.apart(ours, theirs) == pytest.approx(0.5 / 29**0.5)
    assert equal.curve_gap([2.0, 1.02], [2.0, 1.0]) == pytest.approx(0.02)
    with pytest.raises(ValueError, match="different tensors"):
        equal.differ(ours, {"loss": theirs["loss"]})
    with pytest.raises(ValueError, match="one length"):
        equal.curve_gap([1.0], [])


def test_a_step_leaves_no_gradients_behind(module_of: Any) -> None:
    layer = nn.Linear(3, 1)
    found = module_of("equal").train_step(lambda: layer(torch.ones(1, 3)).sum(), dict(layer.named_parameters()))
    torch.testing.assert_close(found["weight"], torch.ones(1, 3))
    assert layer.weight.grad is None


def test_necessary_work_of_llava_as_the_closed_form_has_it(module_of: Any) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    module = module_of("necessary")
    sizes = {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11008, "vocab_size": 32000}
    with torch.device("meta"):
        llm = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=32))
    assert module.llm_blocks(llm) == 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert module.head_size(llm) == 32000 * 4096
    given = {"blocks": module.llm_blocks(llm), "head": module.head_size(llm), "width": 4096, "layers": 32}
    stage = {"lengths": [597], "labelled": [20], "adapters": [(20_979_712, 576)]}
    assert module.necessary(**given, **stage) / 1e12 == pytest.approx(15.83, abs=0.005)
    # Nothing behind the LLM trains: its forward pass alone, and the adapter.
    alone = module.necessary(**given, **stage, through=False)
    forward = 2 * given["blocks"] * 597 + 2 * 597**2 * 4096 * 32 + 2 * given["head"] * 20
    assert alone == forward + 6 * 20_979_712 * 576
    assert module.utilisation(10, 2.0, {"float32": 10.0, "bfloat16": None}) == {"float32": 0.5, "bfloat16": None}


@pytest.mark.parametrize("name", ["equal", "necessary", "llava"])
def test_examples_are_true(module_of: Any, name: str) -> None:
    found = doctest.testmod(module_of(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted
    assert not found.failed


def test_a_matrix_product_has_a_rate(module_of: Any) -> None:
    rates = module_of("machine").gemm_rates("cpu", seconds=0.0)
    assert rates["float32"] > 1e8
    assert rates.keys() == {"float32", "bfloat16"}
