"""BEATs on disk: a folder in our layout, or the released ``.pt`` file (``{"cfg": ..., "model": ...}``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.encoders.beats import Beats, BeatsConfig, BeatsEncoder
from inlay.adapters.loading.pretrained import BackboneError, given
from inlay.adapters.loading.released.weights_file import fill_model, read_folder, read_released, write_folder

__all__ = ["load_beats", "load_beats_encoder", "save_beats"]

_TABLE = "encoder.layers.{}.self_attn.relative_attention_bias.weight"


def save_beats(model: Beats, folder: str | Path) -> Path:
    """Write ``config.json`` and ``model.safetensors``."""
    return write_folder(folder, model.config.to_json(), model)


def load_beats_encoder(
    source: str | Path,
    *,
    dtype: str | torch.dtype,
    revision: str | None,
    local_files_only: bool,
    name: str,
    seconds: float = 10.0,
) -> BeatsEncoder:
    """Load the encoder, with the signature that :func:`inlay.adapters.encoders.register_encoder` requires.

    Args:
        source: as in :func:`load_beats`.
        dtype: as in :func:`load_beats`.
        revision: commit, branch or tag.
        local_files_only: send no request to the Hub.
        name: the name that bundles store.
        seconds: see :class:`BeatsEncoder`.
    """
    options = given(revision=revision, local_files_only=local_files_only)
    model, commit = load_beats(source, dtype=dtype, options=options)
    return BeatsEncoder(model, seconds=seconds, source=name, revision=commit)


def load_beats(
    source: str | Path, *, dtype: str | torch.dtype = "auto", options: Mapping[str, Any] | None = None
) -> tuple[Beats, str | None]:
    """Read a model.

    Args:
        source: a folder in our layout, a Hub id, or a released file.
        dtype: the dtype of the weights in memory; ``"auto"`` is that of the file.
        options: ``revision``, ``local_files_only``.

    Returns:
        The model, and its commit if it came from the Hub.

    Raises:
        BackboneError: the files cannot be read; a tensor is missing, unexpected or of another shape.
        EncoderError: another architecture, or sizes out of bounds.
    """
    commit = None
    tensors: dict[str, Tensor]
    if Path(source).is_file():
        held = read_released(Path(source))
        if not isinstance(held.get("cfg"), Mapping) or not isinstance(held.get("model"), Mapping):
            raise BackboneError(f"{source}: expected the released form with 'cfg' and 'model', got {', '.join(held)}")
        config, tensors = BeatsConfig.from_released(held["cfg"]), dict(held["model"])
    else:
        values, tensors, commit = read_folder(source, options or {})
        config = BeatsConfig.from_json(values)
    tables = [tensors.get(_TABLE.format(layer)) for layer in range(config.layers)]
    first = tables[0]
    if first is not None and any(table is not None and not torch.equal(table, first) for table in tables):
        raise BackboneError(
            f"{source}: expected one table of relative positions for all layers, as in BEATs; the layers differ"
        )
    with torch.device("meta"):
        model = Beats(config)
    return fill_model(model, tensors, source, dtype), commit
