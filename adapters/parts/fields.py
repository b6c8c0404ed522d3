"""Bounds of a part's settings.

A configuration that is read from a bundle is untrusted, and its sizes determine how much memory is allocated. So every
field is checked against its type hint whenever a configuration is created; :data:`MAX_PARAMETERS` bounds the product of
fields that are each within their bounds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from inlay.hub.errors import InlayError
from inlay.hub.safety.text import shown

__all__ = [
    "MAX_PARAMETERS",
    "Between",
    "ConfigError",
    "Depth",
    "Epsilon",
    "Heads",
    "PortCount",
    "PortSize",
    "Queries",
    "Rate",
    "Size",
    "check_fields",
    "check_heads",
    "check_number",
    "complete",
    "port_fields",
]

C = TypeVar("C")

MAX_PARAMETERS = 1 << 31
"""Upper limit for the parameters of one part: 4 GiB in bfloat16, as much as a bundle may have. The largest published
projector, InstructBLIP's, has 189 million."""


class ConfigError(InlayError):
    """A setting of a part is missing, out of bounds, or contradicts another one."""


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds of a number, both inclusive."""

    low: float
    high: float
    from_port: bool = False
    """Whether 0 is allowed too. It means that the size is read from the backbone, see :func:`complete`."""


Size: TypeAlias = Annotated[int, Between(1, 1 << 20)]
"""A dimension of a tensor: a width, a vocabulary, a kernel."""
Queries: TypeAlias = Annotated[int, Between(1, 4096)]
"""A number of learned vectors or of positions."""
PortSize: TypeAlias = Annotated[int, Between(1, 1 << 20, from_port=True)]
"""A width of a port of the backbone; 0 until it is read from there."""
PortCount: TypeAlias = Annotated[int, Between(1, 4096, from_port=True)]
"""A number of vectors at a port of the backbone; 0 until it is read from there."""
Depth: TypeAlias = Annotated[int, Between(1, 128)]
"""A number of layers. Each is a Python object, so a large number is slow even if no memory is allocated."""
Heads: TypeAlias = Annotated[int, Between(1, 1024)]
"""Attention heads."""
Rate: TypeAlias = Annotated[float, Between(0, 0.9)]
"""Dropout probability."""
Epsilon: TypeAlias = Annotated[float, Between(1e-12, 1e-2)]
"""Epsilon of a LayerNorm."""


def check_fields(config: Any) -> None:
    """Check every field of a configuration against its hint; call it from ``__post_init__``.

    Hints may be ``int`` (which means :data:`Size`), ``float``, ``bool``, ``Literal`` of texts, and numbers annotated
    with :class:`Between`.

    Raises:
        ConfigError: names the field, the expected values and the value given.

    Example:
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     layers: Depth = 12
        ...     def __post_init__(self) -> None:
        ...         check_fields(self)
        >>> try:
        ...     Config(layers=1000)
        ... except ConfigError as error:
        ...     print(error)
        layers: expected an integer from 1 to 128, got 1000
    """
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if value == 0 and isinstance(value, int) and not isinstance(value, bool) and _is_from_port(hint):
            continue
        if expected := check_number(hint, value):
            raise ConfigError(f"{name}: expected {expected}, got {shown(value)}")


def port_fields(config_type: type[Any]) -> Iterator[str]:
    """Names of the fields that :func:`complete` can fill: those annotated as sizes of a port."""
    return (name for name, hint in get_type_hints(config_type, include_extras=True).items() if _is_from_port(hint))


def complete(config: C, **sizes: int) -> C:
    """The configuration with the sizes of the ports filled in.

    Args:
        config: a configuration, some of whose port sizes may be 0.
        sizes: field to the size that the backbone has. A field that the configuration already sets must agree.

    Raises:
        ConfigError: a size is still 0, or differs from the backbone's.

    Example:
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     width_in: PortSize = 0
        >>> complete(Config(), width_in=1024)
        Config(width_in=1024)
    """
    held: Any = config
    for name, size in sizes.items():
        if getattr(held, name) not in (0, size):
            raise ConfigError(
                f"{name}: expected {size} as in the backbone, got {getattr(held, name)}; if omitted, it is read from "
                "the backbone"
            )
    missing = {name: size for name, size in sizes.items() if not getattr(held, name)}
    filled: Any = dataclasses.replace(held, **missing) if missing else held
    for name in port_fields(type(filled)):
        if not getattr(filled, name):
            expected = check_number(get_type_hints(type(filled), include_extras=True)[name], 0)
            raise ConfigError(f"{name}: expected {expected}, got 0")
    return filled  # type: ignore[no-any-return]


def check_heads(width: int, heads: int, name: str) -> None:
    """Check that the width ``name`` is a multiple of the number of heads.

    Raises:
        ConfigError: it is not.
    """
    if width % heads:
        raise ConfigError(f"{name}: expected a multiple of the {heads} heads, got {width}")


def check_number(hint: Any, value: object) -> str | None:
    """A description of the values that a hint such as :data:`Size` allows, or None if it allows this one."""
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


def _is_from_port(hint: Any) -> bool:
    return get_origin(hint) is Annotated and any(getattr(bounds, "from_port", False) for bounds in hint.__metadata__)
