"""BERT's pretrained weights, which initialise a Q-Former or a P-Former teacher."""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForMaskedLM

from inlay.adapters.inputs.pretraining.pformer import PFormer, PFormerConfig
from inlay.adapters.loading.pretrained import BackboneError, load_weights, loading
from inlay.recipes.settings.default_models import MINIATURE, miniature_path
from inlay.recipes.settings.objective import ObjectiveError

__all__ = ["masked_bert", "new_teacher"]


def new_teacher(bert: str, *, queries: int, width: int) -> PFormer:
    """Build a P-Former from BERT, with ``queries`` vectors of the LLM's ``width``.

    Raises:
        ObjectiveError: BERT cannot be loaded.
    """
    # BERT's pooler is left out: the teacher uses the class token's state itself.
    return PFormer(PFormerConfig(queries=queries, width_out=width), masked_bert(bert).bert).train()


def masked_bert(source: str) -> Any:
    """The ``BertForMaskedLM`` of a Hub id, a folder or ``inlay-miniature/bert``.

    Raises:
        ObjectiveError: it cannot be loaded.
    """
    where: Any = miniature_path(source) if source.startswith(MINIATURE) else source
    try:
        with loading(where, "BERT"):
            return load_weights(AutoModelForMaskedLM, where, "auto", {})
    except BackboneError as error:
        raise ObjectiveError(f"bert: {error}") from error
