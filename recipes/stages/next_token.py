"""Next-token prediction: the objective of LLaVA's stages, of captioning and of instruction tuning.

Only the adapter is a submodule, so checkpoints hold trainable state and nothing else; the frozen backbone is made again
from its own files.
"""

from __future__ import annotations

from collections.abc import Iterator

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.core.batch import Batch
from inlay.adapters.model import Output
from inlay.adapters.parts.part import Part
from inlay.recipes.ranks import shared_mean
from inlay.recipes.recipe import RecipeError, Stage
from inlay.recipes.stages.schedule import choose_parts, optimizer_for

__all__ = ["NextToken", "idle_parts", "labelled_loss"]


def labelled_loss(output: Output) -> Tensor:
    """The loss of a batch that has labels, weighted by their number among the processes.

    Raises:
        RecipeError: it has none.
    """
    if output.loss is None or output.targets is None:
        raise RecipeError("a batch without labels reached the model")
    return shared_mean(output.loss, len(output.targets))


def idle_parts(adapter: Adapter, batch: Batch) -> tuple[str, ...]:
    """How the names of tensors begin that a batch does not reach: projectors of media that are not in it."""
    seen = {module for name, module in adapter.inputs.items() if name in batch.order}
    made = {part.modality for part in batch.made}
    inputs = [f"adapter.inputs.{name}." for name, module in adapter.inputs.items() if module not in seen]
    outputs = [f"adapter.outputs.{name}." for name in adapter.outputs if name not in made]
    return (*inputs, *outputs, *(() if made else ("adapter.tokens.input",)))


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
        self.idle: tuple[str, ...] = ()
        # In a tuple, because Lightning walks attributes; the backbone is not part of this module's state.
        self._model = (model,)
        choose_parts(self.adapter.parts(), stage)

    @property
    def model(self) -> AttachedModel:
        """Backbone and adapter."""
        return self._model[0]

    def on_fit_start(self) -> None:
        """Bring the frozen models to where the adapter trains."""
        self.model.backbone.to(self.device)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Loss of one batch: mean cross-entropy over its labelled tokens, in all processes together."""
        self.idle = idle_parts(self.adapter, batch)
        loss = labelled_loss(self.model(batch, logits="none"))
        self.log("loss", loss, prog_bar=True, batch_size=len(batch), sync_dist=True)
        return loss

    def parts(self) -> Iterator[Part]:
        """What the part table shows: the adapter's parts."""
        return self.adapter.parts()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with one group a part, each with its own learning rate; warm-up, then cosine."""
        return optimizer_for(self.parts(), self.stage, self.steps)
