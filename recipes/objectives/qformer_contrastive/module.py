"""BLIP-2's first stage: the Q-Former learns to extract features that match the caption of a picture.

Li et al., 2023, https://arxiv.org/abs/2301.12597. Three losses share one transformer, see
:mod:`inlay.adapters.inputs.pretraining.qformer`; as pure functions they are in
:mod:`inlay.recipes.objectives.qformer_contrastive.losses`. There is no language model. Only the Q-Former with text
branch and heads is a submodule, so checkpoints contain nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.inputs.pretraining.qformer import QFormerPretrainer, itc_scores
from inlay.adapters.parts.part import Part
from inlay.recipes.distributed.ranks import all_rows
from inlay.recipes.objectives.caption_tokens import CaptionTokens
from inlay.recipes.objectives.optimizer import choose_parts
from inlay.recipes.objectives.qformer_contrastive.caption_batch import CaptionBatch
from inlay.recipes.objectives.qformer_contrastive.losses import contrast_loss, generation_loss, hard_negatives, matches
from inlay.recipes.objectives.qformer_contrastive.settings import QFormerContrastive
from inlay.recipes.objectives.step_module import StepModule, Term
from inlay.recipes.settings.stage import Stage

__all__ = ["QFormerContrastiveModule"]


class QFormerContrastiveModule(StepModule):
    """Contrast, matching and generation on captioned pictures.

    Args:
        backbone: its image encoder computes the features.
        pretrainer: the trained part.
        tokens: tokenizer for captions.
        settings: weights of the losses.
        stage: learning rate of the part ``inputs.image``, and further settings.
        steps: optimizer steps of the whole stage.

    Raises:
        RecipeError: the stage names another part.
    """

    def __init__(
        self,
        backbone: Backbone,
        pretrainer: QFormerPretrainer,
        tokens: CaptionTokens,
        settings: QFormerContrastive,
        stage: Stage,
        steps: int,
    ) -> None:
        super().__init__(stage, steps)
        self.pretrainer = pretrainer
        self.settings = settings
        self.tokens = tokens
        # In a tuple, so that the backbone does not become a submodule and part of checkpoints.
        self._backbone = (backbone,)
        choose_parts(self.parts(), stage)
        # A head without a loss gets no gradient, which would fail the gradient audit.
        pretrainer.itm_head.requires_grad_(self.settings.itm > 0)
        pretrainer.lm_head.requires_grad_(self.settings.lm > 0)

    def parts(self) -> Iterator[Part]:
        """The Q-Former with text branch and heads; a bundle contains only the projector's tensors."""
        yield Part("inputs.image", "qformer, text, heads", self.pretrainer)

    def on_fit_start(self) -> None:
        """Move the frozen models to the training device."""
        super().on_fit_start()
        self._backbone[0].to(self.device)

    def features(self, batch: CaptionBatch) -> Tensor:
        """Frozen features ``[N, tokens, width]``, cached or computed now."""
        held = batch.features
        if held is None:
            held = self._backbone[0].encoder("image").encode(batch.pixels)
        return held.to(self.pretrainer.query_tokens.dtype)

    def training_step(self, batch: CaptionBatch, _: int) -> Tensor:
        """The weighted sum of the losses."""
        with torch.no_grad():
            # In place, because a clamp in the graph has no gradient outside the bounds, from which the value could not
            # return.
            self.pretrainer.temperature.clamp_(*self.settings.temperature_bounds)
        settings = self.settings
        weighed = {"itc": ("samples", settings.itc), "itm": ("pairs", settings.itm), "lm": ("tokens", settings.lm)}
        return self.step_loss(batch, {name: Term(mean, *weighed[name]) for name, mean in self.losses(batch).items()})

    def losses(self, batch: CaptionBatch) -> dict[str, Tensor]:
        """``itc``, and ``itm`` and ``lm`` if they have a weight, as means over the terms of this process.

        Negatives come from the micro-batches of all processes.
        """
        former, settings = self.pretrainer, self.settings
        features = self.features(batch)
        all_ids, all_mask, all_owners = all_rows(batch.ids), all_rows(batch.mask), all_rows(batch.owners)
        # Cut common padding only after gathering, which needs equal lengths in all processes.
        longest = int(all_mask.sum(dim=1).max())
        batch = replace(batch, ids=batch.ids[:, :longest], mask=batch.mask[:, :longest])
        all_ids, all_mask = all_ids[:, :longest], all_mask[:, :longest]
        images, texts = former.image_embeddings(features), former.text_embeddings(batch.ids, batch.mask)
        same = matches(batch.owners, batch.ids, all_owners, all_ids)
        to_texts = itc_scores(images, all_rows(texts)) / former.temperature
        to_images = itc_scores(all_rows(images), texts).T / former.temperature
        found = {"itc": contrast_loss(to_texts, to_images, same, settings.itc_smoothing)}
        if settings.itm:
            with_text, false_text = hard_negatives(to_texts, same)
            with_picture, false_picture = hard_negatives(to_images, same)
            found["itm"] = self._matching(
                torch.cat([features, features[with_text], all_rows(features)[false_picture]]),
                torch.cat([batch.ids, all_ids[false_text], batch.ids[with_picture]]),
                torch.cat([batch.mask, all_mask[false_text], batch.mask[with_picture]]),
                true=len(batch),
            )
        if settings.lm:
            logits = former.caption_logits(features, self.tokens.written(batch.ids), batch.mask)
            found["lm"] = generation_loss(logits, batch.ids, batch.mask, settings.lm_smoothing)
        return found

    def _matching(self, features: Tensor, ids: Tensor, mask: Tensor, *, true: int) -> Tensor:
        """Cross-entropy over the pairs: first ``true`` matching ones, then false texts and false pictures."""
        logits = self.pretrainer.matching_logits(features, ids, mask)
        target = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        target[:true] = 1
        return torch.nn.functional.cross_entropy(logits, target)
