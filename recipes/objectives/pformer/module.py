"""P-Former: a teacher that learns from captions alone, and the Q-Former that learns from the teacher.

Jian et al., 2023, https://arxiv.org/abs/2307.07063. *Teach*: from a caption, a part of it masked, the teacher makes the
prompt with which the frozen LLM says that caption; its vectors stay near the LLM's own embeddings. *Aligned*: the
projector learns next-token prediction, and its prompt for a picture is drawn towards the teacher's for the caption. The
teacher is dropped then; no bundle holds it. The contrastive term of the original is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.core import splice
from inlay.adapters.core.batch import Batch
from inlay.adapters.inputs.pretraining.pformer import PFormer, alignment_loss, vocabulary_loss
from inlay.adapters.parts.part import Part
from inlay.recipes.objectives.caption_tokens import CaptionTokens
from inlay.recipes.objectives.next_token.module import NextTokenModule, idle_parts, labelled_loss
from inlay.recipes.objectives.optimizer import choose_parts
from inlay.recipes.objectives.pformer.settings import PFormerStudent, PFormerTeacher
from inlay.recipes.objectives.step_module import StepModule, Term
from inlay.recipes.settings.stage import Stage

__all__ = ["PFormerStudentModule", "PFormerTeacherModule", "mask_words"]


def mask_words(ids: Tensor, mask: Tensor, mask_id: int, share: float) -> Tensor:
    """Captions in which a share of the tokens is masked; first and last are BERT's own and stay.

    Args:
        ids: ``[n, L]``.
        mask: ``[n, L]``.
        mask_id: id of ``[MASK]``.
        share: of the words between the first and the last token.
    """
    words = mask.bool().clone()
    words[:, 0] = False
    words[torch.arange(len(ids)), mask.sum(dim=1) - 1] = False
    # Drawn on the CPU, whose random state a checkpoint keeps.
    drawn = torch.rand(ids.shape).to(ids.device) < share
    return ids.masked_fill(words & drawn, mask_id)


class PFormerTeacherModule(StepModule):
    """The teacher's own stage; it needs captions, and of pictures only their places in the sequence.

    Args:
        model: the attached model, for the frozen LLM.
        teacher: what trains.
        tokens: how captions become the teacher's ids.
        captions: sample id -> caption.
        settings: weights of the losses.
        stage: the part is called ``teacher``.
        steps: optimizer steps of the whole stage.
    """

    def __init__(
        self,
        model: AttachedModel,
        teacher: PFormer,
        tokens: CaptionTokens,
        captions: Mapping[str, str],
        settings: PFormerTeacher,
        stage: Stage,
        steps: int,
    ) -> None:
        super().__init__(stage, steps)
        self.teacher = teacher
        self.tokens, self.captions = tokens, captions
        self.settings = settings
        self._model = (model,)
        choose_parts(self.parts(), stage)
        model.adapter.requires_grad_(False)  # LoRA of an earlier stage may be in the LLM; here it is frozen with it.

    def parts(self) -> Iterator[Part]:
        """The teacher; no bundle holds it."""
        yield Part("teacher", "pformer", self.teacher)

    def train(self, mode: bool = True) -> PFormerTeacherModule:
        """The adapter, which is not a submodule here, is frozen too."""
        super().train(mode)
        self._model[0].adapter.eval()
        return self

    def on_fit_start(self) -> None:
        """Move the frozen models to the device on which the teacher trains."""
        super().on_fit_start()
        self._model[0].backbone.to(self.device)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The LLM's loss on the captions behind the teacher's prompts, and their distance from its embeddings."""
        llm = self._model[0].backbone.llm
        ids, mask = (part.to(self.device) for part in self.tokens([self.captions[name] for name in batch.names]))
        masked = mask_words(ids, mask, self.tokens.mask_id, self.settings.masked)
        prompts = self.teacher(masked, mask)
        embeddings = llm.embed(batch.ids)
        filled = splice.insert(embeddings, batch.slots, prompts.flatten(0, 1).to(embeddings.dtype), batch.names)
        lm = labelled_loss(self._model[0].predict(filled, batch, logits="none"))
        table = llm.model.get_input_embeddings().get_parameter("weight").to(prompts.dtype)
        # Every prompt has as many values, so the mean over values is the mean over samples.
        near = Term(vocabulary_loss(prompts, table), per="samples", weight=self.settings.vocabulary)
        return self.step_loss(batch, {"lm": lm, "vocabulary": near})


class PFormerStudentModule(NextTokenModule):
    """Next-token prediction with the teacher's prompts as an extra target.

    Args:
        model: the attached model.
        teacher: trained; it is not part of this module's state.
        tokens: how captions become the teacher's ids.
        captions: sample id -> caption.
        settings: weights of the losses.
        stage: which parts train, and how.
        steps: optimizer steps of the whole stage.
    """

    def __init__(
        self,
        model: AttachedModel,
        teacher: PFormer,
        tokens: CaptionTokens,
        captions: Mapping[str, str],
        settings: PFormerStudent,
        stage: Stage,
        steps: int,
    ) -> None:
        super().__init__(model, stage, steps)
        self.tokens, self.captions = tokens, captions
        self.settings = settings
        self._teacher = (teacher.eval().requires_grad_(False),)

    def on_fit_start(self) -> None:
        """Move the frozen models, the teacher among them, to the device on which the adapter trains."""
        super().on_fit_start()
        self._teacher[0].to(self.device)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Mean cross-entropy over the labelled tokens, and the distance from the teacher's prompts."""
        self.note_idle(idle_parts(self.adapter, batch))
        embeddings = self.model.embeddings(batch)
        lm = labelled_loss(self.model.predict(embeddings, batch, logits="none"))
        ids, mask = (part.to(self.device) for part in self.tokens([self.captions[name] for name in batch.names]))
        with torch.no_grad():
            wanted = self._teacher[0](ids, mask)
        given = embeddings[batch.slots].reshape(len(batch), -1, embeddings.shape[-1]).to(wanted.dtype)
        align = Term(alignment_loss(given, wanted), per="samples", weight=self.settings.align)
        return self.step_loss(batch, {"lm": lm, "align": align})
