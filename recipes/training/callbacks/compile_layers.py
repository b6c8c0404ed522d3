"""Compile the LLM's layers for one stage, if possible."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from lightning.pytorch import Callback, LightningModule, Trainer

from inlay.adapters.language.checkpointing import is_recomputed
from inlay.adapters.language.compile import compiled, missing_compiler
from inlay.adapters.language.decoder_layers import decoder_layers
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.settings.errors import SettingsError

__all__ = ["CompileLayers"]


class CompileLayers(Callback):
    """Compiles the layers when training starts, and restores them when it ends.

    Args:
        show: prints a line for the user.
        backend: as in :func:`inlay.adapters.language.compile.compiled`.
    """

    def __init__(self, show: Callable[[str], None] = print, backend: str = "inductor") -> None:
        self.show, self.backend = show, backend
        self._open = ExitStack()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Compile.

        Raises:
            SettingsError: no compiler on this machine.
        """
        if not isinstance(module, NextTokenModule) or not decoder_layers(module.model.backbone.llm.model):
            self.show("compile: skipped, this stage runs no decoder-only language model")
            return
        llm = module.model.backbone.llm.model
        if is_recomputed(llm):
            self.show("compile: skipped, because recompute is on")
            return
        if lacking := missing_compiler(module.device):
            raise SettingsError(
                f"compile: torch.compile needs {lacking}, which was not found; install it, or leave compile out"
            )
        lora = module.model.adapter.lora
        self._open.enter_context(compiled(llm, None if lora is None else lora.plain(), backend=self.backend))
        self.show("compile: the first batches generate code and are slow; samples/s in the log shows the gain")

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Restore the layers, also after an error."""
        self._open.close()
