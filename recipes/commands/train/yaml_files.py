"""The system and the YAML files of a command line: the first argument, and ``--config``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from inlay.adapters.parts.registration import IMPORT_OWN
from inlay.recipes.commands.train.overrides import flat_rates
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.plain_yaml import MAX_CHARACTERS, parse_yaml
from inlay.recipes.systems.registry import SYSTEMS

__all__ = ["config_options", "merged_settings", "read_yaml", "system_and_files"]


def system_and_files(arguments: Sequence[str]) -> tuple[str, list[Path], list[str]]:
    """The system, the YAML files (the first argument, and those of ``--config``), and the other arguments.

    Raises:
        SettingsError: no system, an unknown one, or a file for another system.
    """
    first = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if first is None:
        if "--help" in arguments or "-h" in arguments:
            return "llava", [], list(arguments)
        raise SettingsError(f"expected a system ({', '.join(SYSTEMS)}) or a YAML file as the first argument")
    files, rest, words = [], [], iter(arguments[1:])
    for word in words:
        name, equals, value = word.partition("=")
        value = value if equals else next(words, "") if name == "--config" else ""
        if name == "--config" and Path(value).is_file():
            files.append(Path(value))
        else:
            rest += [word, *([value] if name == "--config" and value and not equals else [])]
    if first in SYSTEMS:
        for file in files:
            if (own := read_yaml(file).get("system", first)) != first:
                raise SettingsError(f"{file}: system: expected {first}, the first argument, got {own!r}; leave one out")
        return first, files, rest
    path = Path(first)
    if not path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
        raise SettingsError(f"{first}: expected a YAML file of settings: there is no such file")
    if not path.is_file():
        near = get_close_matches(first, SYSTEMS, n=1)
        meant = f"; did you mean {near[0]}?" if near else f"; {IMPORT_OWN}, which calls register_system"
        raise SettingsError(f"expected a system ({', '.join(SYSTEMS)}) or a YAML file, got {first!r}{meant}")
    system = read_yaml(path).get("system")
    if system not in SYSTEMS:
        raise SettingsError(f"{path}: system: expected one of {', '.join(SYSTEMS)}, got {system!r}")
    return str(system), [path, *files], rest


def merged_settings(files: Sequence[Path]) -> Mapping[str, Any]:
    """The settings of several files; those of a later file are preferred."""
    return reduce(_merged, map(read_yaml, files), {})


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of two files; those of the second one are preferred."""
    found = dict(below)
    for name, value in above.items():
        held = found.get(name)
        found[name] = _merged(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return found


def config_options(path: Path) -> list[str]:
    """Arguments for a YAML file; with nested learning rates, its flattened content instead of its path."""
    held = read_yaml(path)
    flat = flat_rates(held)
    return ["--config", str(path) if flat == held else yaml.safe_dump(flat, sort_keys=False)]


def read_yaml(path: Path) -> Mapping[str, Any]:
    """The settings of a file.

    Raises:
        SettingsError: it cannot be read, or is not plain YAML with a mapping.
    """
    try:
        with path.open(encoding="utf-8") as file:
            held = parse_yaml(file.read(MAX_CHARACTERS + 1))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(held, dict):
        raise SettingsError(f"{path}: expected a mapping of settings, got {type(held).__name__}")
    return held
