"""P-Former: a teacher trained on captions only, and a Q-Former trained with the teacher.

Jian et al., 2023, https://arxiv.org/abs/2307.07063. The teacher maps a partly masked caption to a soft prompt with
which the frozen LLM generates the caption; a second loss keeps the prompt near the LLM's embeddings. The student is the
projector: it learns next-token prediction, and its prompt for a picture is aligned with the teacher's prompt for the
caption. A bundle does not contain the teacher. The contrastive term of the original is left out.
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
    """Mask a share of the tokens of captions, except the first and the last, which are special tokens.

    Args:
        ids: ``[n, L]``.
        mask: ``[n, L]``.
        mask_id: id of ``[MASK]``.
        share: probability of masking each token.
    """
    words = mask.bool().clone()
    words[:, 0] = False
    words[torch.arange(len(ids)), mask.sum(dim=1) - 1] = False
    # On the CPU, whose random state is in the checkpoint.
    drawn = torch.rand(ids.shape).to(ids.device) < share
    return ids.masked_fill(words & drawn, mask_id)


class PFormerTeacherModule(StepModule):
    """The teacher's stage, which uses captions; the pictures only determine the slots in the sequence.

    Args:
        model: the attached model, for the frozen LLM.
        teacher: the trained part.
        tokens: the teacher's tokenizer for captions.
        captions: sample id -> caption.
        settings: weights of the losses.
        stage: learning rate of the part ``teacher``, and further settings.
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
        model.adapter.requires_grad_(False)  # an earlier stage may have trained LoRA

    def parts(self) -> Iterator[Part]:
        """The teacher, which is not saved in a bundle."""
        yield Part("teacher", "pformer", self.teacher)

    def train(self, mode: bool = True) -> PFormerTeacherModule:
        """Also put the adapter, which is not a submodule here, into eval mode."""
        super().train(mode)
        self._model[0].adapter.eval()
        return self

    def on_fit_start(self) -> None:
        """Move the frozen models to the training device."""
        super().on_fit_start()
        self._model[0].backbone.to(self.device)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The LLM's loss on the captions after the teacher's prompts, and the prompts' distance from its embeddings."""
        llm = self._model[0].backbone.llm
        ids, mask = (part.to(self.device) for part in self.tokens([self.captions[name] for name in batch.names]))
        masked = mask_words(ids, mask, self.tokens.mask_id, self.settings.masked)
        prompts = self.teacher(masked, mask)
        embeddings = llm.embed(batch.ids)
        filled = splice.insert(embeddings, batch.slots, prompts.flatten(0, 1).to(embeddings.dtype), batch.names)
        lm = labelled_loss(self._model[0].predict(filled, batch, logits="none"))
        table = llm.model.get_input_embeddings().get_parameter("weight").to(prompts.dtype)
        # All prompts have the same size, so the mean over values is the mean over samples.
        near = Term(vocabulary_loss(prompts, table), per="samples", weight=self.settings.vocabulary)
        return self.step_loss(batch, {"lm": lm, "vocabulary": near})


class PFormerStudentModule(NextTokenModule):
    """Next-token prediction with the teacher's prompts as an extra target.

    Args:
        model: the attached model.
        teacher: the trained teacher, which is not part of this module's state.
        tokens: the teacher's tokenizer for captions.
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
        """Move the frozen models and the teacher to the training device."""
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
