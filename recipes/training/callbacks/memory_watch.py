"""The memory plan of a stage before its first step, the logged peak, and advice when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Literal, TypeAlias

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from inlay.adapters.language.checkpointing import recomputed
from inlay.adapters.language.decoder_layers import decoder_layers
from inlay.hub.errors import InlayError
from inlay.recipes.data.conversations import StageData
from inlay.recipes.distributed.ranks import all_of, world
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.settings.free_memory import free_memory
from inlay.recipes.settings.stage import Stage
from inlay.recipes.training.callbacks.largest_batch import Planned, largest_batch, vocabulary_size
from inlay.recipes.training.memory_plan import (
    MIB,
    MemoryPlan,
    head_bytes,
    held_bytes,
    kept_bytes,
    peak_bytes,
    roomier,
)

__all__ = ["MemoryWatch", "OutOfMemoryError", "Recompute", "accumulate_line", "plan_memory"]

PASSING = 1.5
"""Temporary memory of a layer, as a multiple of its saved activations."""
HOLES = 1.4
"""Fragmentation by malloc on a CPU; 1.1 to 1.7 measured on LLaMA and OPT."""

Recompute: TypeAlias = bool | Literal["auto"]


class OutOfMemoryError(InlayError):
    """A batch does not fit into the memory of the device."""


def plan_memory(module: NextTokenModule, data: Planned) -> MemoryPlan:
    """Plan the memory with one forward pass of the longest row; random state and weights do not change.

    Args:
        module: training module on its device.
        data: data of the stage.
    """
    model, stage = module.model, module.stage
    rows = max(1, stage.batch_size // stage.accumulate // world())
    devices = [module.device] if module.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        largest = largest_batch(module, data)
        batch = largest.batch.to(module.device)
        with kept_bytes([model.backbone, module]) as kept:
            output: Any = model.log_probs(batch) if largest.answers else model(batch, logits="none")
            del output
    keeps = int(rows * kept.total * (HOLES if module.device.type == "cpu" else 1.0))
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    size = sum(parameter.nbytes for parameter in trained)
    features: Any = getattr(data.features if isinstance(data, StageData) else None, "held", {})
    return MemoryPlan(
        weights=sum(p.nbytes for p in {*model.backbone.parameters(), *module.parameters()}),
        features=sum(tensor.nbytes for tensor in features.values()),
        gradients=size,
        optimizer=2 * size,
        activations=keeps,
        passing=int(PASSING * keeps / int(model.backbone.llm.model.config.num_hidden_layers)),
        head=head_bytes(batch, vocabulary_size(module), rows),
        reference=largest.reference,
        generation=rows * largest.generation,
        available=free_memory(module.device),
    )


def accumulate_line(plan: MemoryPlan, stage: Stage) -> str:
    """A line for the user if larger micro-batches are faster and fit into the memory; empty otherwise."""
    rows = stage.batch_size // world()
    fewer = roomier(plan, rows, stage.accumulate)
    if fewer == stage.accumulate:
        return ""
    return (
        f"micro-batches of {rows // stage.accumulate} (batch_size {stage.batch_size}, accumulate "
        f"{stage.accumulate}) are slow; --stages.NAME.accumulate {fewer} fits into the memory"
    )


class MemoryWatch(Callback):
    """Prints the plan, decides on recompute, prints and logs the peak; ``figures`` has plan and peak in bytes.

    On a CPU the memory of the process is read before each backward pass, when all activations exist. The peak that the
    system keeps would count loading and earlier stages too.

    There is no plan for stages that do not run the LLM, nor for streams, whose longest sample is unknown.

    Args:
        data: data of the stage.
        recompute: True, False, or ``auto``: only if the plan does not fit.
        show: prints a line for the user.
    """

    def __init__(self, data: Any, recompute: Recompute, show: Callable[[str], None] = print) -> None:
        self.data, self.recompute, self.show = data, recompute, show
        self.plan: MemoryPlan | None = None
        self.figures: dict[str, int] = {}
        self._before = self._most = 0
        self._open = ExitStack()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Plan the memory and switch recompute on if needed."""
        if not isinstance(module, NextTokenModule):
            return
        llm = module.model.backbone.llm.model
        if isinstance(self.data, Planned):
            self.plan = plan_memory(module, self.data)
            self.show(self.plan.lines())
            if line := accumulate_line(self.plan, module.stage):
                self.show(line)
        wanted = self.recompute is True or (self.recompute == "auto" and self.plan is not None and not self.plan.fits)
        # In all processes or in none, so that they run the same collective operations.
        if any(all_of(wanted)):
            if decoder_layers(llm):
                self._open.enter_context(recomputed(llm))
                self.show("recompute: on; uses less memory and about a third more time")
            else:
                self.show(
                    f"recompute: {type(llm).__name__} does not support recompute; lower batch_size, or raise accumulate"
                )

        if module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(module.device)
        self._before = self._most = held_bytes(module.device)

    def on_before_backward(self, trainer: Trainer, module: LightningModule, loss: Tensor) -> None:
        """Read the memory that is in use."""
        now = peak_bytes(module.device) if module.device.type == "cuda" else held_bytes(module.device)
        self._most = max(self._most, now)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the peak so far."""
        module.log("peak MiB", peak_bytes(module.device) / MIB, batch_size=1)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Store and print plan and peak."""
        if self.plan is None:
            return
        if module.device.type == "cuda":
            self._most = max(self._most, peak_bytes(module.device))
        self.figures = {
            "planned": self.plan.to_come,
            "held": self.plan.weights,
            "before": self._before,
            "peak": self._most,
        }
        more = self._most - self._before
        self.show(
            f"memory in MiB: planned to come {self.plan.to_come / MIB:,.0f}, measured {more / MIB:,.0f}, "
            f"{self._most / MIB:,.0f} in all"
        )

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Turn torch's out-of-memory error into one with advice.

        Raises:
            OutOfMemoryError: with the step, the plan and settings that need less memory.
        """
        if isinstance(exception, torch.OutOfMemoryError):
            planned = f"; the plan was {self.plan.lines()}" if self.plan is not None else ""
            raise OutOfMemoryError(
                f"out of memory at step {trainer.global_step}{planned}; raise accumulate (smaller micro-batches, the "
                "same training), set --recompute true, --precision bf16-true or "
                "--backbone.quantise nf4"
            ) from exception

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Switch recompute off, also after an error."""
        self._open.close()
