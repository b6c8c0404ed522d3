"""Configurations whose port sizes are read from the backbone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from inlay.adapters.inputs import PROJECTORS, MlpConfig
from inlay.adapters.outputs import OUTPUTS
from inlay.adapters.parts.fields import ConfigError, complete

CONFIGS = [config for table in (PROJECTORS, OUTPUTS) for _, config in table.values()]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_every_configuration_can_be_made_without_the_sizes_of_the_ports(config: Any) -> None:
    sizes = {name: 48 for name in ("width_in", "width_out", "signals", "tokens") if hasattr(config(), name)}
    assert all(getattr(complete(config(), **sizes), name) == 48 for name in sizes)


@pytest.mark.parametrize("table", [PROJECTORS, OUTPUTS], ids=["inputs", "outputs"])
def test_no_module_is_built_while_a_size_is_missing(table: Any) -> None:
    for module, config in table.values():
        with pytest.raises(ConfigError, match="width_in: expected an integer from 1 to 1048576, got 0"):
            module(config())


def test_a_size_that_the_configuration_sets_must_be_the_backbone_s() -> None:
    assert complete(MlpConfig(width_in=8), width_in=8, width_out=6) == MlpConfig(width_in=8, width_out=6)
    with pytest.raises(ConfigError, match="width_in: expected 9 as in the backbone, got 8; if omitted"):
        complete(MlpConfig(width_in=8), width_in=9, width_out=6)


@pytest.mark.parametrize("value", [False, 0.0, None, -1, "0"])
def test_only_the_whole_number_zero_means_read_from_the_backbone(value: Any) -> None:
    with pytest.raises(ConfigError, match="width_in: expected an integer from 1 to 1048576"):
        MlpConfig(width_in=value)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_zero_is_refused_for_every_other_whole_number(config: Any) -> None:
    ports = {"width_in", "width_out", "signals", "tokens"}
    ports.add("rows")  # of a grid: 0 for a square one
    for field in dataclasses.fields(config):
        if isinstance(field.default, int) and not isinstance(field.default, bool) and field.name not in ports:
            with pytest.raises(ConfigError, match=f"{field.name}: expected an integer from 1"):
                config(**{field.name: 0})
