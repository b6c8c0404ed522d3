"""Bounds of a projector's settings.

A configuration that comes out of a bundle is somebody's text, and its sizes become memory. So every field is checked
against its type hint, in one place, whoever builds the configuration; :data:`MAX_PARAMETERS` bounds what fields within
their bounds can still ask for together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from inlay.hub.errors import InlayError
from inlay.hub.safety.text import shown

__all__ = [
    "MAX_PARAMETERS",
    "Between",
    "Depth",
    "Epsilon",
    "Heads",
    "ProjectorError",
    "Queries",
    "Rate",
    "Size",
    "check_fields",
    "check_heads",
    "check_number",
]

MAX_PARAMETERS = 1 << 31
"""Most numbers in one projector: the 4 GiB that a bundle may hold, in bfloat16. InstructBLIP's has 189 million."""


class ProjectorError(InlayError):
    """A projector cannot be built from its settings, or cannot take what it is given."""


@dataclass(frozen=True, slots=True)
class Between:
    """Both ends are allowed."""

    low: float
    high: float


Size: TypeAlias = Annotated[int, Between(1, 1 << 20)]
"""A width, a vocabulary."""
Queries: TypeAlias = Annotated[int, Between(1, 4096)]
"""Learned vectors, positions."""
Depth: TypeAlias = Annotated[int, Between(1, 128)]
"""Layers: each is a Python object, so a large number hurts even where no memory is taken."""
Heads: TypeAlias = Annotated[int, Between(1, 1024)]
Rate: TypeAlias = Annotated[float, Between(0, 0.9)]
"""Dropout."""
Epsilon: TypeAlias = Annotated[float, Between(1e-12, 1e-2)]
"""Of a LayerNorm."""


def check_fields(config: Any) -> None:
    """Check every field of a configuration against its hint; call it from ``__post_init__``.

    Hints may be ``int`` (which means :data:`Size`), ``float``, ``bool``, ``Literal`` of texts, and numbers annotated
    with :class:`Between`.

    Raises:
        ProjectorError: names the field, what was expected, and what came.

    Example:
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     layers: Depth = 12
        ...     def __post_init__(self) -> None:
        ...         check_fields(self)
        >>> try:
        ...     Config(layers=1000)
        ... except ProjectorError as error:
        ...     print(error)
        layers: expected an integer from 1 to 128, got 1000
    """
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if expected := _mismatch(hint, value):
            raise ProjectorError(f"{name}: expected {expected}, got {shown(value)}")


def check_heads(width: int, heads: int, name: str) -> None:
    """Raise a :class:`ProjectorError` unless the width ``name`` can be split among so many heads."""
    if width % heads:
        raise ProjectorError(f"{name}: expected a multiple of the {heads} heads, got {width}")


def check_number(hint: Any, value: object) -> str | None:
    """What a hint such as :data:`Size` asks for, if the value is something else; else None."""
    return _mismatch(hint, value)


def _mismatch(hint: Any, value: object) -> str | None:
    """What was expected, or None if that is what came."""
    if hint is bool:
        return None if isinstance(value, bool) else "true or false"
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return None if isinstance(value, str) and value in choices else f"one of {', '.join(map(repr, choices))}"
    kind, bounds = get_args(hint) if get_origin(hint) is Annotated else (hint, Between(1, 1 << 20))
    allowed: tuple[type, ...] = (int,) if kind is int else (int, float)
    if isinstance(value, allowed) and not isinstance(value, bool) and bounds.low <= value <= bounds.high:
        return None
    return f"{'an integer' if kind is int else 'a number'} from {bounds.low} to {bounds.high}"
