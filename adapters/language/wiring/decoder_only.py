"""Decoder-only language models: one sequence, in which position ``t`` predicts the token at ``t + 1``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from inlay.adapters.conversation.segments import Segment, Text
from inlay.adapters.language.labels import labelled_rows
from inlay.adapters.language.packing.loss_plan import LossPlan

__all__ = ["DecoderOnly", "takes"]

_LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len")


class DecoderOnly:
    """The :class:`inlay.adapters.language.wiring.protocol.Wiring` of OPT, LLaMA, Qwen, GPT-2, Mamba, ..."""

    def context(self, model: Any) -> int | None:
        """Number of positions with embeddings, or of the training; None for Mamba and with ALiBi."""
        config = model.config.get_text_config(decoder=True)
        if getattr(config, "alibi", False) or getattr(getattr(config, "attn_config", None), "alibi", False):
            return None
        return next((int(limit) for name in _LIMITS if (limit := getattr(config, name, None))), None)

    def settings(self, model: Any) -> dict[str, int]:
        """Number of layers."""
        return {"layers": int(model.config.get_text_config(decoder=True).num_hidden_layers)}

    def arrange(
        self, laid: Sequence[Segment], tokenizer: Any, *, generation: bool
    ) -> tuple[list[Segment], list[Text] | None]:
        """The segments unchanged, and no target."""
        return list(laid), None

    def supervised(self, labels: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """Position ``t`` predicts label ``t + 1``."""
        return labelled_rows(labels)

    def plan(
        self, labels: Tensor, mask: Tensor, target: Tensor | None, branches: Sequence[Sequence[int]] = ()
    ) -> LossPlan:
        """Labelled positions, and the batch without padding, in which rows may have branches."""
        return LossPlan.of(*labelled_rows(labels), mask, branches)

    def run(
        self, model: Any, embeddings: Tensor, mask: Tensor | None, target: Tensor | None, pad_id: int, **more: Any
    ) -> Tensor:
        """Logits of the token after each position. Position ids count real tokens, so padding has no effect."""
        if mask is not None:
            more["position_ids"] = (mask.long().cumsum(dim=1) - 1).clamp_(min=0)
        if not takes(model, "position_ids"):
            more.pop("position_ids", None)
        output = model(inputs_embeds=embeddings, attention_mask=mask, use_cache=False, **more)
        logits: Tensor = output.logits
        return logits

    def states(self, model: Any, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Hidden states of the model without its head, after its last norm."""
        positions = {"position_ids": (mask.long().cumsum(dim=1) - 1).clamp_(min=0)}
        known = positions if takes(model, "position_ids") else {}
        output = model.base_model(inputs_embeds=embeddings, attention_mask=mask, use_cache=False, **known)
        states: Tensor = output.last_hidden_state
        return states

    def written(self, ids: Tensor) -> Tensor:
        """All ids: generation from embeddings returns new tokens only."""
        return ids


def takes(model: Any, name: str) -> bool:
    """Whether a model's forward pass has an argument of this name; Mamba and Bloom count positions themselves."""
    return name in inspect.signature(type(model).forward).parameters
