"""A LoRA on a multimodal folder, with or without a trained projector: the folder provides the remaining parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from inlay.adapters.convert.imported import Imported
from inlay.adapters.convert.registry import CONVERTERS
from inlay.adapters.convert.source import ConvertError, Source

__all__ = ["on_base"]

_SHOWN = 5


def on_base(
    imported: Imported, base: str | Path | None, template: str | None, *, compare: bool, where: object
) -> Imported:
    """Join the content of a checkpoint with that of its base model.

    Args:
        imported: a LoRA, with or without further tensors of the base model's parts.
        base: folder or Hub id of the base model; a bare language model adds nothing.
        template: the template of the conversations; the base model's if not given.
        compare: raise if frozen tensors of the checkpoint differ from those of the base model.
        where: the source, for errors.

    Raises:
        ConvertError: the checkpoint has tensors of parts, and the base model has other parts or is not available.
    """
    place = Source(base) if base is not None and Path(base).is_dir() else None
    found = None if place is None else next((c for c in CONVERTERS.values() if c.matches(place)), None)
    if place is None or found is None:
        if imported.tensors or imported.frozen:
            raise ConvertError(
                f"{where}: {', '.join(sorted([*imported.tensors, *imported.frozen])[:_SHOWN])}: these tensors replace "
                f"those of a multimodal base model; expected its folder as --llm, got {base}"
            )
        return imported
    whole = found.read(place, template)
    _check_parts(imported.tensors, whole.tensors, where)
    if compare:
        for port, tensors in imported.frozen.items():
            _check_frozen(port, tensors, whole.frozen.get(port, {}), where)
    ignored = {**whole.ignored, **imported.ignored}
    return replace(whole, lora=imported.lora, tensors={**whole.tensors, **imported.tensors}, ignored=ignored)


def _check_parts(trained: Mapping[str, Tensor], held: Mapping[str, Tensor], where: object) -> None:
    """Check that the trained tensors are complete parts of the base model."""
    wrong = [f"{name} is unexpected" for name in trained if name not in held]
    # Other code bases do not treat the newline of tiled pictures as a part, and may leave it untrained.
    parts = {name.partition(".layer")[0] for name in trained}
    wrong += [f"{name} is missing" for name in held if name not in trained and name.partition(".layer")[0] in parts]
    if wrong:
        raise ConvertError(
            f"{where}: {len(wrong)} tensors do not fit the parts of the base model: {'; '.join(sorted(wrong)[:_SHOWN])}"
        )


def _check_frozen(port: str, tensors: Mapping[str, Tensor], held: Mapping[str, Tensor], where: object) -> None:
    """Check that models that are frozen for an adapter were not trained."""
    differing = [name for name in tensors if name not in held or not _equal(tensors[name], held[name])]
    if differing:
        raise ConvertError(
            f"{where}: {len(differing)} of {len(tensors)} tensors of the {port} encoder differ from the base "
            f"model's: {', '.join(sorted(differing)[:_SHOWN])}. An adapter has no encoder: train with the encoder "
            "frozen (ms-swift: --freeze_vit true), or drop the trained one with --frozen leave"
        )


def _equal(theirs: Tensor, own: Tensor) -> bool:
    return theirs.shape == own.shape and theirs.to(own.dtype).equal(own)
