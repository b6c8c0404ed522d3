"""Loading one ImageBind for several modalities at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from inlay.adapters.encoders.frames import FrameEncoder
from inlay.adapters.encoders.imagebind import ImageBindEncoder, load_imagebind
from inlay.adapters.encoders.imagebind.encoder import BRANCH_OF, Hearing
from inlay.adapters.encoders.protocol import Encoder
from inlay.adapters.loading.pretrained import check_rule, source_name

__all__ = ["load_joint"]


def load_joint(
    source: str | Path,
    modalities: Sequence[Hearing],
    *,
    dtype: str | torch.dtype = "auto",
    options: Mapping[str, Any] | None = None,
    rules: Mapping[Hearing, Mapping[str, Any]] | None = None,
    name: str | None = None,
) -> dict[Hearing, Encoder]:
    """Encoders that share one model; only the branches that they need are kept in memory.

    Args:
        source: a folder, a Hub id, or ``imagebind_huge.pth``.
        modalities: which.
        dtype: of the weights; ``"auto"`` keeps what is on disk.
        options: ``revision``, ``local_files_only``.
        rules: further arguments of the encoders, such as ``{"audio": {"scaled": False}}``. With ``frames`` or
            ``pooling`` a clip is shown as pictures, see :class:`FrameEncoder`.
        name: replaces the name of a folder or file in bundles.

    Raises:
        BackboneError: nothing there that can be loaded.
        EncoderError: a branch that is not there, or an argument that cannot be.
    """
    needed = {BRANCH_OF[modality] for modality in modalities}
    said = rules or {}
    asked = {modality: dict(said.get(modality, {})) for modality in modalities}
    sampled = {key: asked["video"].pop(key) for key in ("frames", "pooling") if key in asked.get("video", {})}
    for rule in asked.values():
        check_rule(ImageBindEncoder, rule, source)
    model, commit = load_imagebind(source, branches=needed, dtype=dtype, options=options)
    known: dict[str, Any] = {"source": name or source_name(source), "revision": commit}
    encoders: dict[Hearing, Encoder] = {
        modality: ImageBindEncoder(model, modality, **known, **rule) for modality, rule in asked.items()
    }
    if sampled:
        encoders["video"] = FrameEncoder(ImageBindEncoder(model, "image", **known), **sampled)
    return encoders
