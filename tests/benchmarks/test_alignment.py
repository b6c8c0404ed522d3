"""The measures against TRL at tiny sizes: both sides take the same step. Nothing here is about speed."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")  # of TRL and peft

Run = Callable[..., dict[str, Any]]
needs_trl = pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")


@pytest.fixture
def setting(module_of: Any, tmp_path: Path) -> Any:
    return module_of("setting").Setting(place=tmp_path, size="tiny")


@pytest.mark.parametrize("name", ["preference", "preference-memory", "grpo"])
def test_without_trl_a_measure_is_skipped_and_says_how_to_install_it(
    run: Run, module_of: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    trl = module_of("trl_loop")
    monkeypatch.setattr(trl.importlib.util, "find_spec", lambda name: None)
    said = run("cpu", name)
    assert (said["status"], said["why"]) == ("skipped", trl.MISSING)
    assert said["comparisons"] == []


@needs_trl
def test_pairs_a_second_with_a_live_and_a_stored_reference(run: Run) -> None:
    said = run("cpu", "preference")
    assert (said["status"], said["why"]) == ("ok", "")
    assert [one["target"] for one in said["comparisons"]] == [2.5, 3.5, None]
    assert all(one["ratio"] > 0 and one["ours"]["pairs_per_second"] > 0 for one in said["comparisons"])


@needs_trl
def test_both_begin_at_ln_2_with_the_same_gradients_and_stay_together(module_of: Any, setting: Any) -> None:
    small = module_of("preference").small(setting, False)
    ours, theirs = small.sides.first(False)
    assert float(ours["loss"]) == pytest.approx(math.log(2), abs=1e-6)
    assert float(theirs["loss"]) == pytest.approx(math.log(2), abs=1e-6)
    assert ours.keys() == theirs.keys()
    assert sum(float(value.norm()) > 0 for name, value in ours.items() if name.endswith(".B")) == 14
    del ours["loss"], theirs["loss"]
    assert module_of("equal").differ(ours, theirs) < 1e-4


@needs_trl
@pytest.mark.parametrize("micro", [1, 2])
def test_micro_batches_of_theirs_are_the_same_step(module_of: Any, setting: Any, micro: int) -> None:
    preference = module_of("preference")
    sides = preference.build(preference.CURVE_SIZES, preference.CURVE_PAIRS, setting, False)
    _, theirs = sides.fit_theirs([sides.peers(micro)] * 3, False)
    for way in ("live", "stored", "encoder"):
        _, ours = sides.fit_ours([sides.ours(way)] * 3, False)
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert theirs[2] < theirs[1] < theirs[0]


@needs_trl
def test_another_beta_is_void_though_the_first_losses_are_equal(
    run: Run, module_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_of("preference"), "BETA", 0.2)
    said = run("cpu", "preference")
    assert said["status"] == "void"
    assert said["checks"]["loss"] < 1e-6
    assert "gradients differ" in said["why"]
    assert all(one["ratio"] is None for one in said["comparisons"])


@needs_trl
@pytest.mark.parametrize("side", [1, 4, "live", "stored"])
def test_memory_of_one_side(module_of: Any, setting: Any, side: Any) -> None:
    # Not in a copy of this process, whose threads are at work already.
    preference = module_of("preference")
    said = preference.memory_of(setting, preference.CURVE_SIZES, preference.CURVE_PAIRS, side)
    assert said["bytes"] > 0


@needs_trl
def test_grpo_takes_the_same_step_on_the_same_answers(run: Run) -> None:
    said = run("cpu", "grpo")
    assert (said["status"], said["why"]) == ("ok", "")
    assert said["checks"]["gradients"] < 1e-4
    tokens, step = said["comparisons"]
    assert tokens["target"] == 2.0
    assert tokens["ours"]["tokens_per_second"] > 0
    assert len(step["theirs"]["wall"]) == 2


@needs_trl
def test_grpo_with_other_advantages_is_void(run: Run, module_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rewards = module_of("rewards")
    settings = rewards.Grpo
    monkeypatch.setattr(rewards, "Grpo", lambda **options: settings(averaging="dr_grpo", **options))
    said = run("cpu", "grpo")
    assert said["status"] == "void"
    assert "gradients differ" in said["why"]
