"""Comparing two bundles: fields of the manifest and tensors that differ, with distances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inlay.hub.format.bundle import Bundle
from inlay.hub.format.int8 import dequantised
from inlay.hub.safety.text import shown

if TYPE_CHECKING:
    import torch

__all__ = ["Change", "Difference", "compare"]


@dataclass(frozen=True)
class Change:
    """A difference in one field or tensor."""

    name: str
    one: str
    """The value in the first bundle; empty if there is none."""
    two: str
    """The value in the second bundle."""
    distance: float | None = None
    """|a - b| / |a| in the Euclidean norm, for two tensors of the same shape; None otherwise."""


@dataclass(frozen=True)
class Difference:
    """The differences between two bundles."""

    fields: tuple[Change, ...]
    """Fields of the manifest. Hashes, file sizes and the canary follow from the rest and are not compared."""
    tensors: tuple[Change, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.fields and not self.tensors


def compare(one: Bundle, two: Bundle) -> Difference:
    """Compare field by field and tensor by tensor.

    Args:
        one: the first bundle.
        two: the second bundle.
    """
    first, second = (
        _flat(bundle.manifest.model_dump(mode="json", exclude={"files", "canary"})) for bundle in (one, two)
    )
    fields = [
        Change(name, first.get(name, ""), second.get(name, ""))
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]
    return Difference(tuple(fields), tuple(_tensors(_all(one), _all(two))))


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        inner = [_flat(item, f"{name}.{key}" if name else key) for key, item in value.items()]
        return {key: text for texts in inner for key, text in texts.items()}
    return {name: value if isinstance(value, str) and value.isascii() and value.isprintable() else shown(value)}


def _all(bundle: Bundle) -> dict[str, torch.Tensor]:
    return {**bundle.tensors, **(bundle.lora.tensors if bundle.lora else {})}


def _tensors(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> list[Change]:
    changes = []
    wide_one, wide_two = dequantised(one), dequantised(two)
    for name in sorted(wide_one.keys() | wide_two.keys()):
        left, right = one.get(name), two.get(name)
        before, after = _kind(left), _kind(right)
        if left is not None and right is not None and left.shape == right.shape:
            size = float(wide_one[name].double().norm())
            apart = float((wide_one[name].double() - wide_two[name].double()).norm())
            if apart or left.dtype != right.dtype:
                changes.append(Change(name, before, after, apart / size if size else math.inf if apart else 0.0))
        elif before != after:
            changes.append(Change(name, before, after))
    return changes


def _kind(tensor: torch.Tensor | None) -> str:
    return "" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
