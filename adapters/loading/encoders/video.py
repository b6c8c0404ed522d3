"""Loading a video encoder: a registered one, any video model of transformers, ImageBind, or an image encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from inlay.adapters.encoders import ENCODERS, Encoder, FrameEncoder
from inlay.adapters.loading.encoders.any_encoder import tower_config
from inlay.adapters.loading.encoders.families import load_registered
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.pretrained import given, loading
from inlay.adapters.loading.released.imagebind import load_joint
from inlay.adapters.loading.released.weights_file import kind_of

__all__ = ["load_video_encoder"]


def load_video_encoder(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    local_files_only: bool = False,
    feature_options: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Encoder:
    """Load a video encoder.

    Args:
        source: Hub id, folder or file of ImageBind, of a family registered for ``"video"``, of a video model of
            transformers (VideoMAE, V-JEPA 2: :class:`inlay.adapters.encoders.AnyVideoEncoder`), or of an image encoder.
        revision: commit, branch or tag.
        dtype: the dtype of the weights in memory; for ``"auto"`` see :func:`inlay.adapters.loading.dtype.chosen_dtype`.
        device: where the encoder is put; the CPU if not given.
        local_files_only: send no request to the Hub.
        feature_options: ``frames`` and ``pooling`` of :class:`FrameEncoder`, and keyword arguments of the image
            encoder; or those of the video model, such as ``frames`` and ``layer``.
        name: the name that bundles store instead of that of a folder or file.

    Raises:
        BackboneError: the files cannot be loaded, or the family is not supported.
    """
    options = given(revision=revision, local_files_only=local_files_only)
    placed: dict[str, Any] = {"dtype": dtype, "device": device, "name": name}
    chosen = dict(feature_options or {})
    with loading(source, "video encoder"):
        kind = kind_of(source, options)
        if kind == "imagebind":
            return load_joint(source, ["video"], options=options, feature_options={"video": chosen}, **placed)["video"]
        if ("video", kind) in ENCODERS or tower_config("video", source, options) is not None:
            return load_registered("video", kind, source, options=options, feature_options=chosen, **placed)
    sampling = {key: chosen.pop(key) for key in ("frames", "pooling") if key in chosen}
    encoder = load_image_encoder(source, feature_options=chosen, **options, **placed)
    return FrameEncoder(encoder, **sampling)
