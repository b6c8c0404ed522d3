"""Checking that a part's settings can be stored: the manifest's schema validates them when the part is built."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from inlay.hub.format.manifest import PartSpec

__all__ = ["not_storable"]


def not_storable(kind: str, config: Any) -> str | None:
    """The first setting that a manifest cannot store, with the expected values; None if it can store all of them.

    Args:
        kind: the kind of the part.
        config: a dataclass.
    """
    try:
        PartSpec(kind=kind, config=dict(vars(config)), parameters=0, dtype="float32")
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = next((str(step) for step in first["loc"] if step in vars(config)), kind)
        return f"{field}: {first['msg'].removeprefix('Value error, ')}"
    return None
