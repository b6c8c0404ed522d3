"""Key tables: the tensor names of a foreign checkpoint and ours, mapped in both directions.

A pattern is a name with placeholders: ``{leaf}`` matches one component of a dotted path, ``{rest*}`` any number of
them. Every tensor of a checkpoint must match a pair of its table, or a pattern of the ignore list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from inlay.adapters.convert.source import ConvertError

__all__ = ["KeyTable", "Renamed"]

_HOLE = re.compile(r"\{(\w+)(\*?)\}")
_SHOWN = 8


@dataclass(frozen=True)
class Renamed:
    """The tensors of a checkpoint under our names."""

    names: Mapping[str, str]
    """Our name -> name in the file."""
    ignored: Mapping[str, int]
    """Reason -> number of tensors that are not used."""


@dataclass(frozen=True)
class KeyTable:
    """Pairs of patterns, and the names that are ignored.

    Example:
        >>> table = KeyTable((("mm_projector.{n}.{leaf}", "layers.{n}.{leaf}"),), prefixes=("model.", ""))
        >>> table.ours("mm_projector.0.bias"), table.theirs("layers.0.bias")
        ('layers.0.bias', 'model.mm_projector.0.bias')
    """

    pairs: tuple[tuple[str, str], ...]
    """Pairs of a pattern of the file and one of ours; the first match is used."""
    ignored: Mapping[str, str] = field(default_factory=dict)
    """Pattern of the file -> reason why the tensor is not used."""
    prefixes: tuple[str, ...] = ("",)
    """Possible prefixes of every name in the file, the longest first; the first is used for writing."""

    def ours(self, name: str) -> str | None:
        """Our name for a tensor of the file; None if no pattern matches."""
        for bare in self._bare(name):
            for pattern, target in self._reading:
                if found := pattern.fullmatch(bare):
                    return target.format(**found.groupdict())
        return None

    def theirs(self, name: str) -> str | None:
        """The name in the file for one of our tensors; None if no pattern matches."""
        for pattern, target in self._writing:
            if found := pattern.fullmatch(name):
                return self.prefixes[0] + target.format(**found.groupdict())
        return None

    def reason(self, name: str) -> str | None:
        """The reason why a tensor of the file is ignored; None if it must be used."""
        for bare in self._bare(name):
            for pattern, reason in self._ignoring:
                if pattern.fullmatch(bare):
                    return reason
        return None

    def rename(self, names: Iterable[str], where: object) -> Renamed:
        """All tensors of a file under our names.

        Args:
            names: the names in the file.
            where: the source, for the error.

        Raises:
            ConvertError: a tensor matches no pattern, or two have the same name of ours.
        """
        renamed: dict[str, str] = {}
        ignored: dict[str, int] = {}
        unknown = []
        for name in names:
            # The ignore list has priority over a pair with {rest*} that matches too.
            if (reason := self.reason(name)) is not None:
                ignored[reason] = ignored.get(reason, 0) + 1
            elif (own := self.ours(name)) is None:
                unknown.append(name)
            elif own in renamed:
                raise ConvertError(f"{where}: {renamed[own]} and {name} are the same tensor under two names")
            else:
                renamed[own] = name
        if unknown:
            raise ConvertError(
                f"{where}: expected only tensors of this format, got {len(unknown)} others: "
                f"{', '.join(sorted(unknown)[:_SHOWN])}"
            )
        return Renamed(renamed, ignored)

    def write(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename our tensors to the names of the file.

        Raises:
            ConvertError: the format has no name for a tensor.
        """
        named = {name: self.theirs(name) for name in tensors}
        if unknown := sorted(name for name, other in named.items() if other is None):
            raise ConvertError(f"this format has no name for {', '.join(unknown[:_SHOWN])}")
        return {str(named[name]): tensor for name, tensor in tensors.items()}

    def _bare(self, name: str) -> list[str]:
        return [name.removeprefix(prefix) for prefix in self.prefixes if name.startswith(prefix)]

    @cached_property
    def _reading(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(theirs, _long(theirs, ours)), _target(ours)) for theirs, ours in self.pairs]

    @cached_property
    def _writing(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(ours, _long(theirs, ours)), _target(theirs)) for theirs, ours in self.pairs]

    @cached_property
    def _ignoring(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(theirs, _long(theirs)), reason) for theirs, reason in self.ignored.items()]


def _long(*texts: str) -> set[str]:
    """Placeholders that match any number of components; the star may be in either pattern."""
    return {hole[1] for text in texts for hole in _HOLE.finditer(text) if hole[2]}


def _pattern(text: str, long: set[str]) -> re.Pattern[str]:
    """Compile a pattern with placeholders to a regular expression."""
    pieces, end = [], 0
    for hole in _HOLE.finditer(text):
        pieces += [re.escape(text[end : hole.start()]), f"(?P<{hole[1]}>{'.+' if hole[1] in long else r'[^.]+'})"]
        end = hole.end()
    return re.compile("".join([*pieces, re.escape(text[end:])]))


def _target(text: str) -> str:
    return _HOLE.sub(r"{\1}", text)
