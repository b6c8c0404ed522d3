"""Compiled layers in training: cost and gain are measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from inlay.adapters.language.checkpointing import is_recomputed
from inlay.adapters.language.compile import compiled, compiles, missing_compiler
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.settings.errors import SettingsError

__all__ = ["CompileWatch"]

PLAIN = 6
"""Batches that are timed before compilation; the first two of them warm up."""
GENERATING = 3
"""Batches that may generate code: for the first length, for lengths in general, for another layer's kind."""
AFTER = 6
"""Batches that are timed after compilation."""


class CompileWatch(Callback):
    """Times some batches, compiles, times some more, prints cost and gain, and switches compilation off without a gain.

    Args:
        wanted: whether to compile at all.
        show: prints a line for the user.
        backend: as in :func:`inlay.adapters.language.compile.compiled`.
    """

    def __init__(self, wanted: bool, show: Callable[[str], None] = print, backend: str = "inductor") -> None:
        self.wanted, self.show, self.backend = wanted, show, backend
        self.times: list[float] = []
        self.figures: dict[str, float] = {}
        self._open = ExitStack()
        self._begun = 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Check whether the model can be compiled.

        Raises:
            SettingsError: without a compiler on this machine.
        """
        if not self.wanted:
            return
        if not isinstance(module, NextTokenModule) or not compiles(module.model.backbone.llm.model):
            self.wanted = False
            self.show("compile: left out, this stage has no decoder-only language model in its loop")
        elif is_recomputed(module.model.backbone.llm.model):
            self.wanted = False
            self.show("compile: left out, because recompute runs each layer twice here")
        elif lacking := missing_compiler(module.device):
            raise SettingsError(
                f"compile: torch.compile needs {lacking}, which was not found; install it, or leave compile out"
            )

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Compile after the batches that are timed without compilation."""
        if not self._timing:
            return
        if len(self.times) == PLAIN and isinstance(module, NextTokenModule):
            model = module.model
            lora = model.adapter.lora
            plain = None if lora is None else lora.plain()
            self._open.enter_context(compiled(model.backbone.llm.model, plain, backend=self.backend))
            self.show("compile: generating code for the layers ...")
        self._begun = self._now(module)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Time the batch; after the last one that is timed, decide."""
        if not self._timing:
            return
        self.times.append((self._now(module) - self._begun) / max(1, len(batch)))
        if len(self.times) == PLAIN + GENERATING + AFTER:
            self._judge(len(batch))

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Switch compilation off, however training ended."""
        self._open.close()

    @property
    def _timing(self) -> bool:
        """Whether batches are timed still; later ones are not, as timing waits for the GPU."""
        return self.wanted and len(self.times) < PLAIN + GENERATING + AFTER

    def _judge(self, size: int) -> None:
        before = statistics.median(self.times[2:PLAIN]) * size
        after = statistics.median(self.times[PLAIN + GENERATING :]) * size
        cost = sum(self.times[PLAIN : PLAIN + GENERATING]) * size - GENERATING * after
        self.figures = {"seconds": cost, "batch_before": before, "batch_after": after}
        gained = f"compile: {cost:.1f} s of generating code, a batch takes {after:.3f} s instead of {before:.3f} s"
        if after < before:
            self.show(f"{gained}: pays after {cost / (before - after):,.0f} batches")
            return
        self._open.close()
        self.show(f"{gained}: it gains nothing here, and is switched off again")

    def _now(self, module: LightningModule) -> float:
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)
        return time.perf_counter()
