"""Shorthand options of the command line and keys of a YAML file.

``--lr``, ``--batch_size``, ``--epochs`` and ``--max_steps`` set all stages; ``--stages.STAGE.lr.PART`` sets one
learning rate. Both are translated into settings of single stages for the parser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.stage import Stage

__all__ = ["EVERY_STAGE", "fitting_accumulate", "flat_rates", "split_rates", "spread", "with_rates"]

EVERY_STAGE = {
    "lr": "peak learning rate of all trained parts, in every stage",
    "batch_size": "conversations per optimizer step, in every stage",
    "epochs": "passes over the data, in every stage",
    "max_steps": "upper limit of optimizer steps, in every stage",
}
"""Options for all stages -> help text."""

_RATE = re.compile(r"--stages\.(\w+)\.lr\.([\w.]+)")
_EVERY = re.compile(rf"--({'|'.join(EVERY_STAGE)})")


def split_rates(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Remove options such as ``--stages.instruct.lr.inputs.image 1e-4`` from a command line.

    Returns:
        The other arguments; stage, part and value of each removed option.

    Raises:
        SettingsError: an option without a value.

    Example:
        >>> split_rates(["llava", "--stages.align.lr.inputs=1e-4", "--seed", "3"])
        (['llava', '--seed', '3'], [('align', 'inputs', '1e-4')])
    """
    return _split(arguments, _RATE)


def _split(arguments: Sequence[str], pattern: re.Pattern[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    rest: list[str] = []
    found: list[tuple[str, ...]] = []
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition("=")
        if not (match := pattern.fullmatch(name)):
            rest.append(argument)
            continue
        if not equals:
            value = next(waiting, "")
        if not value or value.startswith("--"):
            raise SettingsError(f"{name}: expected a value, got nothing")
        found.append((*match.groups(), value))
    return rest, found


def spread(
    arguments: Sequence[str], held: Mapping[str, Any], stages: Mapping[str, Stage]
) -> tuple[list[str], list[str]]:
    """Expand options and YAML keys for all stages into options of single stages.

    Args:
        arguments: the command line.
        held: settings of the YAML file.
        stages: name -> stage of the recipe.

    Returns:
        Options for the keys of the file, which its own ``stages`` override; the expanded command line, in which options
        of single stages follow those for all stages.
    """
    rest, every = _split(arguments, _EVERY)
    if unknown := [stage for stage, _, _ in split_rates(rest)[1] if stage not in stages]:
        raise SettingsError(f"--stages.{unknown[0]}: expected one of the stages {', '.join(stages)}")
    of_file = [(name, str(held[name])) for name in EVERY_STAGE if held.get(name) is not None]
    return (
        [option for name, value in of_file for option in _each(name, value, stages)],
        [option for name, value in every for option in _each(name, value, stages)] + rest,
    )


def _each(name: str, value: str, stages: Mapping[str, Stage]) -> list[str]:
    if name == "lr":
        rates = {stage: [(part, value) for part in own.lr] for stage, own in stages.items()}
        return [f"--stages.{stage}.lr={json.dumps(with_rates({}, own, stage))}" for stage, own in rates.items()]
    options = [f"--stages.{stage}.{name}={value}" for stage in stages]
    if name == "batch_size" and value.isdecimal() and int(value):
        options += [
            f"--stages.{stage}.accumulate={fitting_accumulate(own, int(value))}" for stage, own in stages.items()
        ]
    return options


def fitting_accumulate(stage: Stage, batch_size: int) -> int:
    """``accumulate`` for another batch size, with micro-batches that are not larger than the stage's.

    Example:
        >>> sizes = {"batch_size": 64, "accumulate": 8}
        >>> stage = Stage(data="train", template="plain", geometry="pad", lr={"lora": 1e-3}, **sizes)
        >>> [fitting_accumulate(stage, size) for size in (4, 32, 128)]
        [1, 4, 16]
    """
    largest = stage.batch_size // stage.accumulate
    counts = range(1, batch_size + 1)
    return next(count for count in counts if batch_size % count == 0 and batch_size // count <= largest)


def with_rates(lr: Mapping[str, float], given: Iterable[tuple[str, str]], stage: str) -> dict[str, float]:
    """Override learning rates with those of the command line; the rate of a group replaces those of its parts.

    Args:
        lr: part or group -> rate.
        given: part or group, and the rate as text.
        stage: name of the stage, for errors.

    Raises:
        SettingsError: a rate is not a number.

    Example:
        >>> with_rates({"inputs.image": 1e-3, "lora": 2e-4}, [("inputs", "1e-4")], "instruct")
        {'lora': 0.0002, 'inputs': 0.0001}
    """
    rates: dict[str, float] = {}
    for name, value in given:
        try:
            rates[name] = float(value)
        except ValueError:
            raise SettingsError(f"--stages.{stage}.lr.{name}: expected a learning rate, got {value}") from None
    groups = tuple(f"{name}." for name in rates)
    kept = {name: rate for name, rate in lr.items() if not name.startswith(groups)} if groups else dict(lr)
    return kept | rates


def flat_rates(settings: Any) -> Any:
    """Flatten nested learning rates in the settings of a YAML file: ``lr: {inputs: {image: 1e-4}}``.

    Example:
        >>> flat_rates({"stages": {"align": {"lr": {"inputs": {"image": 1e-4}, "lora": 1e-3}}}})
        {'stages': {'align': {'lr': {'inputs.image': 0.0001, 'lora': 0.001}}}}
    """
    if not isinstance(settings, Mapping) or not isinstance(settings.get("stages"), Mapping):
        return settings
    stages = {name: _flat_stage(stage) for name, stage in settings["stages"].items()}
    return {**settings, "stages": stages}


def _flat_stage(stage: Any) -> Any:
    if not isinstance(stage, Mapping) or not isinstance(stage.get("lr"), Mapping):
        return stage
    flat: dict[str, Any] = {}
    for name, rate in stage["lr"].items():
        flat |= {f"{name}.{part}": own for part, own in rate.items()} if isinstance(rate, Mapping) else {name: rate}
    return {**stage, "lr": flat}
