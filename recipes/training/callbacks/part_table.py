"""The part table, printed before the first step: trained parts, learning rates, and the size of the bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer

from inlay.adapters.parts.part import Part
from inlay.recipes.settings.stage import Stage, rate_of
from inlay.recipes.terminal.table import aligned

__all__ = ["PartTable", "part_table"]

BYTES_ON_DISK = 2


@runtime_checkable
class _HasParts(Protocol):
    stage: Stage

    def parts(self) -> Iterable[Part]:
        """All parts."""
        ...


def part_table(parts: Iterable[Part], lr: Mapping[str, float]) -> str:
    """Part, kind, mode (frozen, full or lora), learning rate, dtype, parameters, bundle bytes; then LoRA's targets."""
    parts = list(parts)
    rows = [("part", "kind", "mode", "lr", "dtype", "parameters", "bytes saved")]
    total = 0
    for part in parts:
        trained = any(parameter.requires_grad for parameter in part.module.parameters())
        rate = rate_of(part.name, lr) if trained else None
        mode = "frozen" if rate is None else "lora" if part.kind == "lora" else "full"
        shown = "-" if rate is None else f"{rate:g}"
        size = part.parameters * BYTES_ON_DISK
        total += size
        rows.append((part.name, part.kind, mode, shown, part.dtype, f"{part.parameters:,}", f"{size:,}"))
    rows.append(("sum", "", "", "", "", f"{total // BYTES_ON_DISK:,}", f"{total:,}"))
    # Which linears of the LLM the word "lora" stands for.
    further = [about for part in parts if (about := getattr(part.module, "about", ""))]
    return "\n".join([aligned(rows, right=False), *further])


class PartTable(Callback):
    """Prints the table when training starts.

    Args:
        show: prints the text.
    """

    def __init__(self, show: Callable[[str], None] = print) -> None:
        self.show = show

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Print once per stage."""
        if isinstance(module, _HasParts):
            self.show(part_table(module.parts(), module.stage.lr))
