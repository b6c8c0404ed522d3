"""Options of the export targets; each class is one target's."""

from __future__ import annotations

from dataclasses import dataclass

from inlay.adapters.export.target import option

__all__ = ["PeftOptions"]


@dataclass(frozen=True)
class PeftOptions:
    """Options of ``peft``."""

    rank: int | None = option(None, "another rank of the LoRA, by singular values; its own if not given")
