"""NExT-GPT's output side: states of signal tokens are aligned with the output of the generator's text encoder.

Wu et al., 2023, https://arxiv.org/abs/2309.05519. The loss of a batch is the cross-entropy over words and signal tokens
and, for every generated medium, the distance between the output projector's conditioning and the frozen text encoder's
output for the caption, optionally with the latent diffusion loss. :class:`SignalsModule` runs the LLM; if only output
projectors train, :class:`SignalStatesModule` uses states that were computed once, with equal results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.conversation.messages import MadePart
from inlay.adapters.core.batch import Batch
from inlay.adapters.media.modality import Modality
from inlay.adapters.outputs.losses import conditioning_distance
from inlay.adapters.parts.part import Part
from inlay.recipes.data.cache.states import StateBatch
from inlay.recipes.objectives.next_token.module import NextTokenModule, idle_parts, labelled_loss
from inlay.recipes.objectives.optimizer import choose_parts
from inlay.recipes.objectives.signals.settings import Signals
from inlay.recipes.objectives.signals.targets import Targets
from inlay.recipes.objectives.step_module import StepModule, Term
from inlay.recipes.settings.stage import Stage

__all__ = ["Extra", "SignalStatesModule", "SignalsModule", "signal_losses"]

Extra: TypeAlias = Callable[[Modality, Tensor, Sequence[MadePart]], Tensor]
"""An extra loss of the conditionings ``[n, tokens, width]`` of media: the latent diffusion loss."""


def signal_losses(
    adapter: Adapter,
    states: Mapping[Modality, Tensor],
    made: Sequence[MadePart],
    targets: Targets,
    settings: Signals,
    extra: Extra | None = None,
) -> dict[str, Term]:
    """Weighted losses by name: distance and diffusion loss of each modality, as means over its media.

    Args:
        adapter: the adapter with the output projectors.
        states: ``[n, signals, width]`` for each modality.
        made: the medium of each state, in reading order.
        targets: conditionings of captions.
        settings: weights and kind of distance.
        extra: the latent diffusion loss, if it has a weight.
    """
    losses: dict[str, Term] = {}
    for name in adapter.outputs:
        modality: Any = name
        conditioning = adapter.condition(modality, states[modality]).float()
        parts = [part for part in made if part.modality == modality]
        further = f"diffusion_{name}" if extra is not None and settings.diffusion else ""
        if not parts:
            # Without such a medium the projector still is in the graph, which must be the same in all processes.
            losses |= {key: Term(conditioning.sum() * 0, per=name) for key in (name, further) if key}
            continue
        wanted = targets.of(modality, parts).to(conditioning.device)
        distance = conditioning_distance(conditioning, wanted, settings.distance)
        losses[name] = Term(getattr(settings, modality) * distance, per=name)
        if extra is not None and further:
            losses[further] = Term(settings.diffusion * extra(modality, conditioning, parts), per=name)
    return losses


class SignalsModule(NextTokenModule):
    """One stage on an attached model.

    Args:
        model: backbone and adapter.
        targets: conditionings of captions.
        settings: weights of the losses, and the kind of distance.
        stage: which parts train, and how.
        steps: optimizer steps of the whole stage.
        extra: the latent diffusion loss, where it has a weight.
    """

    def __init__(
        self,
        model: AttachedModel,
        targets: Targets,
        settings: Signals,
        stage: Stage,
        steps: int,
        extra: Extra | None = None,
    ) -> None:
        super().__init__(model, stage, steps)
        self.settings = settings
        self._aims = (targets, extra)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The weighted sum of cross-entropy and distances."""
        self.note_idle(idle_parts(self.adapter, batch))
        output = self.model(batch, logits="none", states=True)
        targets, extra = self._aims
        states = output.signal_states or {}
        losses = signal_losses(self.adapter, states, batch.made, targets, self.settings, extra)
        if self.settings.lm:
            lm = labelled_loss(output)
            losses["lm"] = lm._replace(mean=self.settings.lm * lm.mean)
        return self.step_loss(batch, losses)


class SignalStatesModule(StepModule):
    """A stage on precomputed states: the LLM does not run, and only output projectors train.

    Args:
        adapter: its output projectors train.
        targets: conditionings of captions.
        settings: weights of the losses, and the kind of distance.
        stage: learning rates and optimizer.
        steps: optimizer steps of the whole stage.
        extra: the latent diffusion loss, where it has a weight.
    """

    def __init__(
        self,
        adapter: Adapter,
        targets: Targets,
        settings: Signals,
        stage: Stage,
        steps: int,
        extra: Extra | None = None,
    ) -> None:
        super().__init__(stage, steps)
        self.adapter = adapter
        self.settings = settings
        self._aims = (targets, extra)
        choose_parts(adapter.parts(), stage)

    def parts(self) -> Iterator[Part]:
        """The adapter's parts."""
        return self.adapter.parts()

    def training_step(self, batch: StateBatch, _: int) -> Tensor:
        """The weighted sum of the distances."""
        targets, extra = self._aims
        made = {part.modality for part in batch.made}
        self.note_idle(tuple(f"adapter.outputs.{name}." for name in self.adapter.outputs if name not in made))
        losses = signal_losses(self.adapter, batch.states, batch.made, targets, self.settings, extra)
        return self.step_loss(batch, losses)
