"""Migrating manifests of earlier format versions to the current one, in memory; the folder is not changed.

Every version stays readable. ``STEPS[n]`` converts the JSON of version n to version n + 1; a change of
``FORMAT_VERSION`` adds a step, and a bundle of the previous version to ``tests/hub/frozen/``. A manifest that an older
version can express is still written as that version, so that older versions of inlay read it.
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
    """Version 2 adds int8 parts, the layout's date, arguments and tiling, and the adapter that a training began with.

    A value of a wrong type is left to the schema, which names its field.
    """
    parts, layout = raw.get("parts"), raw.get("layout")
    for field in ("date", "arguments", "tiling"):
        if isinstance(layout, dict) and field in layout:
            raise ValueError(f"the field {field} of a layout needs version 2")
    training = raw.get("training")
    if isinstance(training, dict) and "derived_from" in training:
        raise ValueError("derived_from needs version 2")
    specs = parts.values() if isinstance(parts, dict) else ()
    if any(isinstance(spec, dict) and spec.get("dtype") == "int8" for spec in specs):
        raise ValueError("int8 needs version 2")
    return raw


STEPS: dict[int, Step] = {1: _one_to_two}


def migrate(raw: dict[str, Any], file: str) -> dict[str, Any]:
    """Convert a manifest to the current version. The schema checks its fields afterwards.

    Raises:
        BundleError: the version is missing, or too new for this version of inlay.
    """
    version = raw.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(file, f"expected an integer from 1 on, got {shown(version)}", field="format_version")
    if version > FORMAT_VERSION:
        reason = f"this bundle has format {version}, this version reads up to {FORMAT_VERSION}: upgrade inlay"
        raise BundleError(file, reason, field="format_version")
    for number in range(version, FORMAT_VERSION):
        try:
            raw = {**STEPS[number](raw), "format_version": number + 1}
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            reason = f"cannot be migrated from format {number} to {number + 1} ({type(error).__name__})"
            reason += "; a field is missing or has another type"
            raise BundleError(file, reason, field="format_version") from None
    return raw
