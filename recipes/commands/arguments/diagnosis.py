"""Finds the wrong argument of a command line and the expected value.

The error messages of jsonargparse have several lines and change between versions, so they are not parsed. Instead, the
given options are compared with those of the parser, and each value is checked by jsonargparse against the type of its
option.
"""

from __future__ import annotations

import argparse
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentParser

from inlay.hub.errors import InlayError
from inlay.recipes.settings.plain_yaml import MAX_CHARACTERS, parse_yaml

__all__ = ["diagnose", "expected"]

_NONE = type(None)
_WORDS = {"PositiveInt": "int above 0", "NonNegativeInt": "int of at least 0"}
"""Types of jsonargparse in words."""
_CONFIG = "--config"
"""The option for a YAML file of settings."""


class _Given(NamedTuple):
    """One given option."""

    name: str
    """The name, with dashes."""
    value: str | None
    """None for an option without a value."""
    place: str
    """The YAML file with the option; empty for the command line."""


def diagnose(parser: ArgumentParser, arguments: Sequence[str], error: BaseException | None) -> str | None:
    """The problem with the arguments in one line; None if unknown.

    Args:
        parser: the parser that rejected them.
        arguments: arguments of the command line.
        error: the error raised by the parser.
    """
    inner = error
    while inner is not None:
        if isinstance(inner, InlayError):  # from the check of a settings class
            return str(inner)
        inner = inner.__cause__ or inner.__context__
    if isinstance(error, argparse.ArgumentError) and error.argument_name:
        return f"{error.argument_name}: {error.message}"
    for given in _all_given(arguments):
        if problem := _problem(parser, given):
            return f"{given.place}: {problem}" if given.place else problem
    return _positional_problem(parser, arguments)


def expected(hint: Any, name: str = "") -> str:
    """A type in words.

    Args:
        hint: type hint of an option.
        name: name of the option, for a settings class.

    Example:
        >>> expected(int | None), expected(Literal["a", "b"]), expected(tuple[int, ...]), expected(dict[str, float])
        ('int', "one of 'a', 'b'", 'a list of int', 'a mapping of str to float')
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin in (Union, types.UnionType):
        return " or ".join(expected(one, name) for one in inner if one is not _NONE)
    if origin in (tuple, list):
        return f"a list of {expected(inner[0])}"
    if origin is dict:
        return f"a mapping of {expected(inner[0])} to {expected(inner[1])}"
    if is_dataclass(hint):
        return f"its fields, such as {name}.FIELD VALUE; settings are plain values, not classes"
    if isinstance(hint, type) and issubclass(hint, Path):
        return "path"
    if hint is Any:
        return "any value"
    named = str(getattr(hint, "__name__", hint))
    return _WORDS.get(named, named)


def _all_given(arguments: Sequence[str]) -> Iterator[_Given]:
    """The options of the command line and of its YAML files."""
    place = 0
    while place < len(arguments):
        name, equals, value = arguments[place].partition("=")
        place += 1
        if not name.startswith("--") or name == "--":
            continue
        given: str | None = value if equals else None
        if not equals and place < len(arguments) and not arguments[place].startswith("--"):
            given, place = arguments[place], place + 1
        yield _Given(name, given, "")
        if given is not None and name == _CONFIG and isinstance(held := _file(given), Mapping):
            yield from _flat(held, "--", given if "\n" not in given else "config")


def _file(value: str) -> Any:
    """The content of a YAML file or of inline YAML; None for neither."""
    try:
        text = Path(value).read_text(encoding="utf-8") if "\n" not in value else value
        return parse_yaml(text[: MAX_CHARACTERS + 1])
    except (OSError, ValueError):
        return None


def _flat(held: Mapping[str, Any], prefix: str, place: str) -> Iterator[_Given]:
    for name, value in held.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.", place)
        else:
            text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True)
            yield _Given(f"{prefix}{name}", text.removesuffix("\n").removesuffix("\n..."), place)


def _positional_problem(parser: ArgumentParser, arguments: Sequence[str]) -> str | None:
    """The first argument without a name that has another type, or that the command does not take."""
    options, words = parser._option_string_actions, iter(arguments)
    places = parser._get_positional_actions()
    found = []
    for word in words:
        if not word.startswith("--"):
            found.append(word)
        elif "=" not in word and word in options and options[word].nargs != 0:
            next(words, None)
    for action, word in zip(places, found, strict=False):
        if (hint := _hint(action)) is not None and not _takes(hint, word):
            return f"{action.dest}: expected {expected(hint)}, got {word}"
    extra = " ".join(found[len(places) :])
    if not extra or any(action.nargs in ("*", "+", "...") for action in places):
        return None
    if _CONFIG in options and Path(extra).suffix.lower() in (".yaml", ".yml"):
        return f"{extra}: expected an option in front of a file of settings; give it as {_CONFIG} {extra}"
    return f"{extra}: more arguments than expected; write an option in front of a value, and a text of words in quotes"


def _problem(parser: ArgumentParser, given: _Given) -> str | None:
    """The problem with one option; None if it is valid."""
    options = parser._option_string_actions
    name = given.name
    if name == _CONFIG and given.value is not None:
        readable = isinstance(_file(given.value), Mapping)
        return None if readable else f"{name}: expected a YAML file of settings, got {given.value}"
    if name in options:
        hint = _hint(options[name])
        if hint is None or given.value is None or _takes(hint, given.value):
            return None
        return f"{name}: expected {expected(hint, name)}, got {given.value}"
    owner = name
    while (owner := owner.rpartition(".")[0]) and owner not in options:
        pass
    hint = _hint(options[owner]) if owner else None
    field = name.removeprefix(f"{owner}.").partition(".")[0]
    if (settings := _settings_class(hint)) is not None:
        own = {one.name for one in fields(settings)}
        if field in own:
            return None if given.value is None else _of_field(hint, field, given)
        if field in ("class_path", "init_args"):
            return f"{owner}: expected {expected(settings, owner)}"
        return _unknown(name, [f"{owner}.{one}" for one in own])
    if get_origin(hint) is dict:  # an entry of a mapping
        return None
    return _unknown(name, list(options))


def _of_field(hint: Any, field: str, given: _Given) -> str | None:
    settings = _settings_class(hint)
    if settings is None or _takes(settings, yaml.safe_dump({field: yaml.safe_load(str(given.value))})):
        return None
    return f"{given.name}: expected {expected(get_type_hints(settings)[field])}, got {given.value}"


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.8)
    if not near and "." in name:  # such as --data.images of `inlay train` for --images of `inlay pairs`
        near = [one for one in (f"--{name.rpartition('.')[2]}",) if one in known]
    return f"{name}: unknown option" + (f"; did you mean {near[0]}?" if near else "")


def _settings_class(hint: Any) -> Any:
    """The settings class among the types of an option; None for none."""
    return next((one for one in (hint, *get_args(hint)) if isinstance(one, type) and is_dataclass(one)), None)


def _hint(action: Any) -> Any:
    """The type of an option's value; None for an option without one, such as ``--help``."""
    hint = getattr(action, "_typehint", None)
    return getattr(action, "type", None) if hint is None else hint


def _takes(hint: Any, value: str) -> bool:
    """Whether jsonargparse accepts a value for this type."""
    probe = ArgumentParser(exit_on_error=False, add_help=False)
    probe.add_argument("--value", type=hint)
    try:
        probe.parse_args([f"--value={value}"])
    except (argparse.ArgumentError, TypeError, ValueError):
        return False
    return True
