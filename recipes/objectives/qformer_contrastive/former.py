"""The way of a Q-Former through the stages: from BERT into stage 1, from there into the adapter's projector."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForMaskedLM

from inlay.adapters.inputs import InstructQFormerProjector, QFormerProjector
from inlay.adapters.inputs.pretraining.bert import load_bert
from inlay.adapters.inputs.pretraining.pformer import PFormer, PFormerConfig
from inlay.adapters.inputs.pretraining.qformer import QFormerPretrainConfig, QFormerPretrainer
from inlay.adapters.inputs.qformer import QFormerSizes
from inlay.recipes.objectives.caption_tokens import CaptionTokens
from inlay.recipes.settings.default_models import MINIATURE
from inlay.recipes.settings.objective_settings import ObjectiveError, RepresentSettings, TeacherSettings
from inlay.recipes.systems.load_backbone import miniature_path

__all__ = ["hand_over", "hinders", "new_pretrainer", "new_teacher"]


def hinders(projector: nn.Module) -> str:
    """Why this projector has no first stage; empty if it has one.

    Example:
        >>> hinders(nn.Identity())
        'only a Q-Former has a text branch to learn with, Identity has none'
    """
    if isinstance(projector, QFormerProjector | InstructQFormerProjector):
        return ""
    kind = getattr(projector, "kind", type(projector).__name__)
    return f"only a Q-Former has a text branch to learn with, {kind} has none"


def new_pretrainer(projector: nn.Module, tokens: CaptionTokens, settings: RepresentSettings) -> QFormerPretrainer:
    """A Q-Former of the projector's sizes with text branch and heads, from BERT's weights or from random ones.

    Raises:
        ObjectiveError: not a Q-Former, or one that reads other tokens.
        BackboneError: no BERT where the settings say.
    """
    if reason := hinders(projector):
        raise ObjectiveError(f"represent: {reason}")
    config: Any = projector.config
    sizes: dict[str, Any] = {field.name: getattr(config, field.name) for field in fields(QFormerSizes)}
    if isinstance(projector, InstructQFormerProjector):
        sizes |= {"vocabulary": config.vocabulary, "text_positions": config.text_positions}
        if config.vocabulary < tokens.vocabulary:
            raise ObjectiveError(
                f"represent: the projector knows {config.vocabulary} tokens, captions have {tokens.vocabulary} with "
                f"[DEC]; give it vocabulary={tokens.vocabulary}"
            )
    bert = _bert(settings.bert) if settings.bert else None
    if bert is not None:
        sizes = {"text_positions": bert.config.max_position_embeddings, **sizes}
    chosen = QFormerPretrainConfig(**{"vocabulary": tokens.vocabulary, "embedding": settings.embedding, **sizes})
    if settings.text_tokens > chosen.text_positions:
        raise ObjectiveError(
            f"represent: text_tokens: expected at most {chosen.text_positions} positions, got {settings.text_tokens}"
        )
    former = QFormerPretrainer(chosen)
    with torch.no_grad():
        former.temperature.fill_(settings.temperature)
    if bert is not None:
        load_bert(former, bert)
    return former


def hand_over(former: QFormerPretrainer, projector: nn.Module) -> None:
    """Copy what was learnt into the projector; its linear layer, which stage 1 has no use for, stays as it is."""
    if isinstance(projector, InstructQFormerProjector):
        config = projector.config
        built: nn.Module = former.instruct_projector(config.width_out, prompt_tokens=config.prompt_tokens)
    elif isinstance(projector, QFormerProjector):
        built = former.projector(projector.config.width_out)
    else:
        raise ObjectiveError(f"represent: {hinders(projector)}")
    own = {name: tensor for name, tensor in projector.state_dict().items() if name.startswith("projection.")}
    projector.load_state_dict(built.state_dict() | own)


def new_teacher(settings: TeacherSettings, *, queries: int, width: int) -> PFormer:
    """A P-Former on BERT, with as many vectors as the projector gives and the LLM's width."""
    # The class token's state is taken as it is, so BERT's pooler would never train.
    bert = _bert(settings.bert).bert
    return PFormer(PFormerConfig(queries=queries, width_out=width), bert).train()


def _bert(source: str) -> Any:
    where: Any = miniature_path(source) if source.startswith(MINIATURE) else source
    try:
        return AutoModelForMaskedLM.from_pretrained(where, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ObjectiveError(f"bert: {source}: no BERT could be loaded: {reason}") from error
