"""Settings of LoRA: what can be built can be saved."""

from __future__ import annotations

import math
from typing import Any

import pytest

from inlay.adapters.llm_parts.lora_config import LoraConfig, LoraError
from inlay.hub.format.peft_folder import LoraSpec, read_config, write_config


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"r": 0}, r"r: expected an integer from 1 to 1024, got 0"),
        ({"r": 1025}, "r: expected an integer from 1 to 1024"),
        ({"r": 2.5}, "r: expected an integer"),
        ({"r": True}, "r: expected an integer"),
        ({"alpha": 0}, "alpha: expected a number above 0"),
        ({"alpha": -1.0}, "alpha: expected a number above 0"),
        ({"alpha": math.nan}, "alpha: expected a number above 0"),
        ({"alpha": math.inf}, "alpha: expected a number above 0"),
        ({"alpha": True}, "alpha: expected a number above 0"),
        ({"dropout": 1.0}, "dropout: expected a number from 0 to below 1"),
        ({"dropout": -0.1}, "dropout: expected a number from 0 to below 1"),
        ({"targets": "q_proj"}, "targets: expected a tuple of module names or the text 'all-linear', got 'q_proj'"),
        ({"targets": tuple(f"layers.{i}.q" for i in range(257))}, "targets: expected at most 256 items, got 257"),
        ({"targets": ()}, "targets: expected 1 to 4096 names"),
        ({"targets": (1,)}, "targets: expected module names"),
        ({"targets": {"q_proj"}}, "targets: expected a tuple of module names"),
        ({"targets": (".*q_proj",)}, "targets: expected plain names"),
        ({"targets": ("all-linear",)}, "targets: expected plain names"),
    ],
)
def test_settings_that_no_bundle_may_hold_are_refused_when_built(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(LoraError, match=said):
        LoraConfig(**fields)


@pytest.mark.parametrize("config", [LoraConfig(targets=("q", "v")), LoraConfig(r=1024, alpha=1e6, targets=["a.b"])])
def test_settings_that_can_be_built_can_be_written_and_read(config: LoraConfig) -> None:
    spec = LoraSpec(r=config.r, alpha=config.alpha, dropout=config.dropout, targets=config.explicit)
    assert read_config(write_config(spec)) == spec


def test_targets_have_one_order() -> None:
    assert LoraConfig(targets=("v", "q", "q")) == LoraConfig(targets=("q", "v"))


def test_all_linear_is_the_default_and_has_no_names_of_its_own() -> None:
    assert LoraConfig().targets == "all-linear"
    with pytest.raises(LoraError, match="has no names before a LoraPart is created"):
        _ = LoraConfig().explicit
