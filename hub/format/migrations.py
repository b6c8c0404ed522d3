"""Manifests of earlier format versions, brought to the current one in memory; the folder stays as it is.

A version is read forever. ``STEPS[n]`` takes the JSON of version n to version n + 1; whoever raises ``FORMAT_VERSION``
adds the step, and a bundle as it was written before to ``tests/hub/frozen/``. What an older version can say is still
written as that version, so that an older inlay reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from inlay.hub.errors import BundleError
from inlay.hub.safety.text import shown

__all__ = ["FORMAT_VERSION", "STEPS", "migrate"]

Step: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

FORMAT_VERSION = 2


def _one_to_two(raw: dict[str, Any]) -> dict[str, Any]:
    """Version 2 has parts in int8; nothing else is new. What is no object is refused behind this, by name."""
    parts = raw.get("parts")
    specs = parts.values() if isinstance(parts, dict) else ()
    if any(isinstance(spec, dict) and spec.get("dtype") == "int8" for spec in specs):
        raise ValueError("int8 is of version 2")
    return raw


STEPS: dict[int, Step] = {1: _one_to_two}


def migrate(raw: dict[str, Any], file: str) -> dict[str, Any]:
    """The manifest in the current version; what is in it is not looked at otherwise.

    Raises:
        BundleError: no version, or one that is newer than this inlay.
    """
    version = raw.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(file, f"expected an integer from 1 on, got {shown(version)}", field="format_version")
    if version > FORMAT_VERSION:
        reason = f"this bundle has format {version}, this inlay reads up to {FORMAT_VERSION}: upgrade inlay"
        raise BundleError(file, reason, field="format_version")
    for number in range(version, FORMAT_VERSION):
        try:
            raw = {**STEPS[number](raw), "format_version": number + 1}
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            reason = f"cannot be brought from format {number} to {number + 1}: {type(error).__name__}"
            raise BundleError(
                file, f"{reason}; a field is missing or of another kind", field="format_version"
            ) from None
    return raw
