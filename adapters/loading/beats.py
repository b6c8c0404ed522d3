"""BEATs on disk: a folder of ours, or a ``.pt`` file as it was released (``{"cfg": ..., "model": ...}``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.encoders.beats.config import BeatsConfig
from inlay.adapters.encoders.beats.model import Beats
from inlay.adapters.loading.pretrained import BackboneError
from inlay.adapters.loading.weights_file import filled, read_folder, read_released, write_folder

__all__ = ["load_beats", "save_beats"]

_TABLE = "encoder.layers.{}.self_attn.relative_attention_bias.weight"


def save_beats(model: Beats, folder: str | Path) -> Path:
    """Write ``config.json`` and ``model.safetensors``."""
    return write_folder(folder, model.config.to_json(), model)


def load_beats(
    source: str | Path, *, dtype: str | torch.dtype = "auto", options: Mapping[str, Any] | None = None
) -> tuple[Beats, str | None]:
    """Read a model.

    Args:
        source: a folder of ours, a Hub id, or a released file.
        dtype: of the weights in memory; ``"auto"`` keeps what is on disk.
        options: ``revision``, ``local_files_only``.

    Returns:
        The model, and the commit on the Hub that it is from, if it is.

    Raises:
        BackboneError: nothing there that can be loaded; a tensor is missing, left over or of another shape.
        EncoderError: another architecture, or sizes that cannot be.
    """
    commit = None
    tensors: dict[str, Tensor]
    if Path(source).is_file():
        held = read_released(Path(source))
        if not isinstance(held.get("cfg"), Mapping) or not isinstance(held.get("model"), Mapping):
            raise BackboneError(f"{source}: expected 'cfg' and 'model', as BEATs was released, got {', '.join(held)}")
        config, tensors = BeatsConfig.from_released(held["cfg"]), dict(held["model"])
    else:
        values, tensors, commit = read_folder(source, options or {})
        config = BeatsConfig.from_json(values)
    tables = [tensors.get(_TABLE.format(layer)) for layer in range(config.layers)]
    first = tables[0]
    if first is not None and any(table is not None and not torch.equal(table, first) for table in tables):
        raise BackboneError(f"{source}: the layers have different tables of distances; BEATs has one for all")
    with torch.device("meta"):
        model = Beats(config)
    return filled(model, tensors, source, dtype), commit
