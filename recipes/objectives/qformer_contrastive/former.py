"""A Q-Former with text branch and heads, initialised from BERT and copied into the adapter's projector."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import nn

from inlay.adapters.inputs import InstructQFormerProjector, QFormerProjector
from inlay.adapters.inputs.pretraining.bert import load_bert
from inlay.adapters.inputs.pretraining.qformer import QFormerPretrainConfig, QFormerPretrainer
from inlay.adapters.inputs.qformer import QFormerSizes
from inlay.recipes.objectives.caption_tokens import CaptionTokens
from inlay.recipes.objectives.pretrained_bert import masked_bert
from inlay.recipes.objectives.qformer_contrastive.settings import QFormerContrastive
from inlay.recipes.settings.objective import ObjectiveError

__all__ = ["hand_over", "hinders", "new_pretrainer"]


def hinders(projector: nn.Module) -> str:
    """The reason why a projector has no first stage; empty if it has one.

    Example:
        >>> hinders(nn.Identity())
        'expected a Q-Former, got Identity'
    """
    if isinstance(projector, QFormerProjector | InstructQFormerProjector):
        return ""
    kind = getattr(projector, "kind", type(projector).__name__)
    return f"expected a Q-Former, got {kind}"


def new_pretrainer(projector: nn.Module, tokens: CaptionTokens, settings: QFormerContrastive) -> QFormerPretrainer:
    """Build a Q-Former of the projector's sizes with text branch and heads, from BERT's or random weights.

    Raises:
        ObjectiveError: not a Q-Former, a vocabulary or position table that is too small, or no BERT.
    """
    if reason := hinders(projector):
        raise ObjectiveError(f"qformer_contrastive: {reason}")
    config: Any = projector.config
    sizes: dict[str, Any] = {field.name: getattr(config, field.name) for field in fields(QFormerSizes)}
    if isinstance(projector, InstructQFormerProjector):
        sizes |= {"vocabulary": config.vocabulary, "text_positions": config.text_positions}
        if config.vocabulary < tokens.vocabulary:
            raise ObjectiveError(
                f"qformer_contrastive: expected a projector with {tokens.vocabulary} tokens ([DEC] included), got "
                f"{config.vocabulary}; set its vocabulary={tokens.vocabulary}"
            )
    bert = masked_bert(settings.bert) if settings.bert else None
    if bert is not None:
        sizes = {"text_positions": bert.config.max_position_embeddings, **sizes}
    chosen = QFormerPretrainConfig(**{"vocabulary": tokens.vocabulary, "embedding": settings.embedding, **sizes})
    if settings.text_tokens > chosen.text_positions:
        raise ObjectiveError(
            f"qformer_contrastive: text_tokens: expected at most {chosen.text_positions} positions, got "
            f"{settings.text_tokens}"
        )
    former = QFormerPretrainer(chosen)
    with torch.no_grad():
        former.temperature.fill_(settings.temperature)
    if bert is not None:
        load_bert(former, bert)
    return former


def hand_over(former: QFormerPretrainer, projector: nn.Module) -> None:
    """Copy the trained weights into the projector, except its linear layer, which stage 1 does not train."""
    if isinstance(projector, InstructQFormerProjector):
        config = projector.config
        built: nn.Module = former.instruct_projector(config.width_out, prompt_tokens=config.prompt_tokens)
    elif isinstance(projector, QFormerProjector):
        built = former.projector(projector.config.width_out)
    else:
        raise ObjectiveError(f"qformer_contrastive: {hinders(projector)}")
    own = {name: tensor for name, tensor in projector.state_dict().items() if name.startswith("projection.")}
    projector.load_state_dict(built.state_dict() | own)
