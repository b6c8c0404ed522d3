"""Next-token prediction: the objective of LLaVA's stages, of captioning and of instruction tuning.

Only the adapter is a submodule, so checkpoints hold trainable state and nothing else; the frozen backbone is made again
from its own files.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.batch import Batch
from inlay.recipes.recipe import RecipeError, Stage

__all__ = ["NextToken", "warmup_cosine"]


class NextToken(LightningModule):
    """One stage on an attached model.

    Args:
        model: backbone and adapter.
        stage: which parts train, and how.
        steps: optimizer steps of the whole stage.

    Raises:
        RecipeError: the stage names a part that the adapter lacks.
    """

    def __init__(self, model: AttachedModel, stage: Stage, steps: int) -> None:
        super().__init__()
        self.adapter = model.adapter
        self.stage, self.steps = stage, steps
        # In a tuple, because Lightning walks attributes; the backbone is not part of this module's state.
        self._model = (model,)
        names = [part.name for part in self.adapter.parts()]
        if unknown := set(stage.lr) - set(names):
            raise RecipeError(
                f"lr: no part is called {', '.join(sorted(unknown))}; this adapter has {', '.join(names)}"
            )
        for part in self.adapter.parts():
            part.module.requires_grad_(part.name in stage.lr)

    @property
    def model(self) -> AttachedModel:
        """Backbone and adapter."""
        return self._model[0]

    def on_fit_start(self) -> None:
        """Bring the frozen models to where the adapter trains."""
        self.model.backbone.to(self.device)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Loss of one batch: mean cross-entropy over its labelled tokens."""
        loss = self.model(batch).loss
        if loss is None:
            raise RecipeError("a batch without labels reached the model")
        self.log("loss", loss, prog_bar=True, batch_size=len(batch))
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with one group a part, each with its own learning rate; warm-up, then cosine to zero."""
        groups = [
            {"params": list(part.module.parameters()), "lr": self.stage.lr[part.name], "name": part.name}
            for part in self.adapter.parts()
            if part.name in self.stage.lr
        ]
        optimizer = AdamW(groups, betas=self.stage.betas, weight_decay=self.stage.weight_decay)
        schedule = LambdaLR(optimizer, warmup_cosine(self.steps, self.stage.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def warmup_cosine(steps: int, warmup: float) -> Callable[[int], float]:
    """Factor on the learning rate by step: linear to 1 over the warm-up, then half a cosine to 0.

    Example:
        >>> factor = warmup_cosine(100, 0.1)
        >>> [round(factor(step), 2) for step in (0, 9, 10, 55, 99)]
        [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    rise = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))

    return factor
