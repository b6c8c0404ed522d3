"""Loading an audio encoder from a Hub id, a folder, or a file in its released form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from inlay.adapters.encoders import Encoder
from inlay.adapters.loading.encoders.families import load_registered
from inlay.adapters.loading.pretrained import given, loading
from inlay.adapters.loading.released.imagebind import load_joint
from inlay.adapters.loading.released.weights_file import kind_of

__all__ = ["load_audio_encoder"]


def load_audio_encoder(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    local_files_only: bool = False,
    feature_options: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Encoder:
    """Load an audio encoder with its feature extractor.

    Only the encoder of a Whisper model is read, and only the audio tower of a CLAP model with its projection.

    Args:
        source: Hub id or folder of a registered family (Whisper, HuBERT and its relatives, CLAP, BEATs, ImageBind, and
            those of :func:`inlay.adapters.encoders.register_encoder`) or of any other audio model of transformers
            (:class:`inlay.adapters.encoders.AnySoundEncoder`); for BEATs and ImageBind also the released file.
        revision: commit, branch or tag.
        dtype: the dtype of the weights in memory; for ``"auto"`` see :func:`inlay.adapters.loading.dtype.chosen_dtype`.
        device: where the encoder is put; the CPU if not given.
        local_files_only: send no request to the Hub.
        feature_options: keyword arguments of the encoder, such as ``layer`` or ``seconds``.
        name: the name that bundles store instead of that of a folder or file.

    Raises:
        BackboneError: the files cannot be loaded, or the family is not supported.
    """
    options = given(revision=revision, local_files_only=local_files_only)
    placed: dict[str, Any] = {"dtype": dtype, "device": device, "options": options, "name": name}
    chosen = dict(feature_options or {})
    with loading(source, "audio encoder"):
        kind = kind_of(source, options)
        if kind == "imagebind":
            return load_joint(source, ["audio"], feature_options={"audio": chosen}, **placed)["audio"]
        return load_registered("audio", kind, source, feature_options=chosen, **placed)
