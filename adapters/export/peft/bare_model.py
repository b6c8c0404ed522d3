"""The bare language model beside an attached adapter: a copy of its modules that shares every weight."""

from __future__ import annotations

import copy
from typing import Any

from inlay.adapters.llm_parts.lora_linear import LoraLinear
from inlay.adapters.model import MultimodalModel

__all__ = ["bare_model"]


def bare_model(model: MultimodalModel[Any]) -> Any:
    """A model of transformers without the adapter's LoRA, in the memory of the attached one's weights.

    Args:
        model: an attached model without token rows; it is not changed.
    """
    own = model.backbone.llm.model
    shared = {id(tensor): tensor for tensor in [*own.parameters(), *own.buffers()]}
    copied: Any = copy.deepcopy(own, shared)
    for name, module in list(copied.named_modules()):
        if isinstance(module, LoraLinear):
            parent, _, leaf = name.rpartition(".")
            setattr(copied.get_submodule(parent), leaf, module.base_layer)
    return copied.eval()
