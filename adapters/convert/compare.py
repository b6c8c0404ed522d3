"""Comparison of frozen tensors with the backbone: a projector trained on a fine-tuned LLM does not fit another LLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from inlay.adapters.backbone import Backbone
from inlay.adapters.convert.source import ConvertError

__all__ = ["check_frozen"]

_SHOWN = 5
_PER_TOKEN = ("embed_tokens.weight", "lm_head.weight", "shared.weight")
"""Matrices with one row per token, of which a checkpoint may have more than the LLM."""


def check_frozen(frozen: Mapping[str, Mapping[str, Tensor]], backbone: Backbone) -> dict[str, int]:
    """Compare the frozen tensors of a checkpoint with the backbone's, in the dtype of the backbone.

    Args:
        frozen: port -> name in the model -> tensor.
        backbone: the models to which the adapter will be attached.

    Returns:
        Port -> number of tensors that were compared and are equal.

    Raises:
        ConvertError: tensors differ, or the backbone does not have them.
    """
    compared = {}
    for port, tensors in frozen.items():
        held = _by_name(backbone.llm.model if port == "llm" else cast(nn.Module, backbone.encoder(port)))
        differing = [name for name in tensors if not _equal(name, tensors[name], held)]
        if differing:
            what = "language model" if port == "llm" else f"{port} encoder"
            raise ConvertError(
                f"{len(differing)} of {len(tensors)} tensors of the {what} in this checkpoint differ from the "
                f"backbone's: {', '.join(sorted(differing)[:_SHOWN])}. It was trained with the projector: give "
                f"this model as --{port} (for a whole LLaVA checkpoint, --write_llm FOLDER does this), or accept "
                "another one with --frozen leave"
            )
        compared[port] = len(tensors)
    return compared


def _by_name(module: nn.Module) -> dict[str, Tensor]:
    """Tensors of a model by name; for an encoder, by the names inside its tower."""
    state = module.state_dict()
    bare = {name.removeprefix("model.").removeprefix("vision_model."): tensor for name, tensor in state.items()}
    return {**bare, **state}


def _equal(name: str, theirs: Tensor, held: Mapping[str, Tensor]) -> bool:
    if (own := held.get(name)) is None:
        return False
    if name.endswith(_PER_TOKEN) and theirs.dim() == own.dim() == 2:
        rows = min(len(theirs), len(own))
        theirs, own = theirs[:rows], own[:rows]
    return theirs.shape == own.shape and bool(theirs.to(own.device, own.dtype).equal(own))
