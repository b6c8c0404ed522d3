"""YAML of settings: plain values only, with bounds on length, depth and expanded aliases."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["MAX_CHARACTERS", "NotPlainError", "check_value", "parse_yaml"]

MAX_CHARACTERS = 200_000
_MAX_NODES = 50_000
_MAX_DEPTH = 50
_NO_KEYS = frozenset({"class_path", "init_args", "__path__"})
"""Keys that make jsonargparse import a class."""


class NotPlainError(ValueError):
    """The YAML contains more than plain values, or exceeds a limit."""


def parse_yaml(text: str) -> Any:
    """Read YAML.

    Args:
        text: content of a file, or a value from the command line.

    Raises:
        NotPlainError: the YAML has a class to import, a NUL byte, a node that contains itself, aliases that expand to
            too many values, or too many characters.
        ValueError: invalid YAML. The message is one line.
    """
    if len(text) > MAX_CHARACTERS:
        raise NotPlainError(f"expected at most {MAX_CHARACTERS:,} characters, got {len(text):,}")
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {}, ())
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{error.problem or error.context}{where}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error).partition("\n")[0]) from None  # a forbidden character
    except RecursionError:
        raise NotPlainError(f"expected at most {_MAX_DEPTH} levels of nesting") from None


def _count(node: yaml.Node, known: dict[int, int], above: tuple[int, ...]) -> int:
    """Number of values that a node expands to; an alias is one node with several parents."""
    if id(node) in above:
        raise NotPlainError(f"a value contains itself{_place(node)}")
    if len(above) > _MAX_DEPTH:
        raise NotPlainError(f"expected at most {_MAX_DEPTH} levels of nesting{_place(node)}")
    if id(node) in known:
        return known[id(node)]
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in _NO_KEYS:
                raise NotPlainError(f"{key.value}: expected plain values; settings cannot import classes{_place(key)}")
            inner += [key, value]
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    elif "\0" in node.value:
        raise NotPlainError(f"expected text without NUL bytes{_place(node)}")
    total = 1 + sum(_count(child, known, (*above, id(node))) for child in inner)
    if total > _MAX_NODES:
        raise NotPlainError(f"expected at most {_MAX_NODES:,} values, aliases expanded{_place(node)}")
    known[id(node)] = total
    return total


def _place(node: yaml.Node) -> str:
    return f" (line {node.start_mark.line + 1})" if node.start_mark else ""


def check_value(text: str) -> None:
    """Check one value of the command line: any text, which may also be YAML.

    Raises:
        NotPlainError: see :func:`parse_yaml`.
    """
    if "\0" in text:
        raise NotPlainError("expected text without NUL bytes")
    try:
        parse_yaml(text)
    except NotPlainError:
        raise
    except ValueError:
        return
