"""The language model in llama.cpp, called through transformers' ``generate``.

Sampling, penalties, stop texts and streaming are those of transformers, with torch's random numbers: equal scores give
equal answers. llama.cpp keeps the keys and values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.modeling_outputs import CausalLMOutput

from inlay.adapters.export.gguf.llama_library import LlamaCpp
from inlay.adapters.language.generation.generate import MAX_NEW_TOKENS, Generation, token_limit
from inlay.adapters.language.model import LanguageModelError
from inlay.adapters.language.occupancy import occupancy_of
from inlay.recipes.runtime.embedding_table import EmbeddingTable
from inlay.recipes.runtime.headless import HeadlessLanguage, HeadlessModel

__all__ = ["LlamaCppLanguage", "LlamaCppModel"]


class LlamaCppModel(HeadlessModel):  # type: ignore[no-untyped-call]  # of a class hook
    """Token embeddings in torch, layers and head in llama.cpp.

    Args:
        kept: of the language model.
        engine: the same model, with the adapter's LoRA.
    """

    def __init__(self, kept: EmbeddingTable, engine: LlamaCpp) -> None:
        super().__init__(kept)
        self.engine = engine
        self.room = 0
        """Positions that may follow a prompt."""

    def prepare_inputs_for_generation(  # type: ignore[override]  # the arguments that are used, by name
        self, input_ids: Tensor, *, inputs_embeds: Tensor | None = None, attention_mask: Tensor | None = None, **_: Any
    ) -> dict[str, Any]:
        """The prompt first, then the last id of each row."""
        if not input_ids.shape[1]:
            return {"inputs_embeds": inputs_embeds, "attention_mask": attention_mask}
        return {"input_ids": input_ids[:, -1:]}

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> CausalLMOutput:
        """Logits ``[B, 1, vocabulary]`` of the next token, in float32.

        Args:
            input_ids: ``[B, 1]``, the next token of each row.
            inputs_embeds: ``[B, T, width]``, prompts; the rows before are forgotten.
            attention_mask: ``[B, T]``, of the prompts.
        """
        if inputs_embeds is not None:
            self.engine.use_lora(occupancy_of(self).owner is not None)
            mask = torch.ones(inputs_embeds.shape[:2]) if attention_mask is None else attention_mask
            rows = [_numbers(row[kept.bool()]) for row, kept in zip(inputs_embeds, mask, strict=True)]
            scores, device = self.engine.begin(rows, self.room), inputs_embeds.device
        elif input_ids is not None:
            scores, device = self.engine.step(_numbers(self.table(input_ids[:, -1]))), input_ids.device
        else:
            raise LanguageModelError("expected ids or embeddings, got neither")
        return CausalLMOutput(logits=torch.from_numpy(scores)[:, None].to(device))


class LlamaCppLanguage(HeadlessLanguage):
    """The port for a language model in llama.cpp."""

    model: LlamaCppModel

    def logits(
        self, embeddings: Tensor, mask: Tensor, rows: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        """Logits ``[B, 1, vocabulary]`` of the token behind each row.

        Raises:
            LanguageModelError: logits of other positions are asked for.
        """
        if rows is not None:
            self.token_losses()
        self.model.room = 0
        scores: Tensor = self.model(inputs_embeds=embeddings, attention_mask=mask).logits
        return scores

    def generate(
        self, embeddings: Tensor, mask: Tensor, *, max_new_tokens: int | None = None, **options: Any
    ) -> Generation:
        """See :meth:`inlay.adapters.language.model.LanguageModel.generate`; without beams."""
        self.require_one_beam(options, "llama.cpp")
        wanted = MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens
        self.model.room = token_limit(wanted, self.model, self.wiring, mask)
        return super().generate(embeddings, mask, max_new_tokens=max_new_tokens, use_cache=False, **options)


def _numbers(tensor: Tensor) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = tensor.detach().float().cpu().numpy()
    return values
