"""Next-token prediction: the objective of LLaVA's stages, of captioning and of instruction tuning.

Only the adapter is a submodule, so checkpoints contain only trainable state; the frozen backbone is loaded from its own
files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.core.batch import Batch
from inlay.adapters.model import Output
from inlay.adapters.parts.part import Part
from inlay.recipes.objectives.next_token.settings import NextToken
from inlay.recipes.objectives.optimizer import choose_parts
from inlay.recipes.objectives.plan import Plan, Task, conversation_plan
from inlay.recipes.objectives.step_module import StepModule, Term
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.stage import Stage

__all__ = ["NextTokenModule", "idle_parts", "labelled_loss", "next_token_plan"]


def labelled_loss(output: Output) -> Term:
    """The mean cross-entropy over the labelled tokens of a micro-batch.

    Raises:
        RecipeError: the micro-batch has no labelled tokens.
    """
    if output.loss is None:
        raise RecipeError("a batch without labels reached the model")
    return Term(output.loss, per="labels")


def idle_parts(adapter: Adapter, batch: Batch) -> tuple[str, ...]:
    """Name prefixes of tensors that a batch does not use: projectors of modalities without media in it, new tokens.

    Args:
        adapter: attached.
        batch: as the model reads it.
    """
    seen = {module for name, module in adapter.inputs.items() if name in batch.order}
    made = {part.modality for part in batch.made}
    inputs = [f"adapter.inputs.{name}." for name, module in adapter.inputs.items() if module not in seen]
    outputs = [f"adapter.outputs.{name}." for name in adapter.outputs if name not in made]
    ended = any(tiles.rule.newline for tiles in batch.tiles.values())
    new = made or _reads_new_tokens(adapter, batch)
    return (*inputs, *outputs, *(() if new else ("adapter.tokens.input",)), *(() if ended else ("adapter.newline.",)))


def _reads_new_tokens(adapter: Adapter, batch: Batch) -> bool:
    """Whether a batch without generated media has one of the adapter's further tokens, such as ModaVerse's [TEXT]."""
    if adapter.tokens is None or not adapter.tokens.config.other:
        return False
    ids = adapter.attachment.backbone.llm.tokenizer.convert_tokens_to_ids(list(adapter.tokens.config.other))
    return bool(torch.isin(batch.ids, torch.tensor(ids, device=batch.ids.device)).any())


class NextTokenModule(StepModule):
    """One stage on an attached model.

    Args:
        model: backbone and adapter.
        stage: which parts train, and how.
        steps: optimizer steps of the whole stage.

    Raises:
        RecipeError: the stage names a part that the adapter lacks.
    """

    def __init__(self, model: AttachedModel, stage: Stage, steps: int) -> None:
        super().__init__(stage, steps)
        self.adapter = model.adapter
        # In a tuple, so that the backbone does not become a submodule and part of checkpoints.
        self._model = (model,)
        choose_parts(self.adapter.parts(), stage)

    @property
    def model(self) -> AttachedModel:
        """Backbone and adapter."""
        return self._model[0]

    def on_fit_start(self) -> None:
        """Move the frozen models to the training device."""
        super().on_fit_start()
        self.model.backbone.to(self.device)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The micro-batch's share of the loss of the optimizer step."""
        self.note_idle(idle_parts(self.adapter, batch))
        return self.step_loss(batch, self.terms(batch))

    def terms(self, batch: Batch) -> Mapping[str, Term]:
        """The losses of a micro-batch by name: the cross-entropy. A subclass may return others."""
        return {"lm": labelled_loss(self.model(batch, logits="none"))}

    def labelled(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits ``[rows, vocabulary]`` in float32 for the labelled tokens, and the tokens ``[rows]``."""
        output = self.model(batch, logits="labelled")
        if output.logits is None or output.targets is None:
            raise RecipeError("a batch without labels reached the model")
        return output.logits.float(), output.targets

    def parts(self) -> Iterator[Part]:
        """The adapter's parts."""
        return self.adapter.parts()


def next_token_plan(_: NextToken, task: Task) -> Plan:
    """The plan of a stage with next-token prediction."""
    return conversation_plan(task, lambda steps: NextTokenModule(task.model, task.stage, steps))
