"""Loading one ImageBind for several modalities at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from inlay.adapters.encoders.imagebind import ImageBindEncoder, load_imagebind
from inlay.adapters.encoders.imagebind.encoder import BRANCH_OF, Hearing
from inlay.adapters.pretrained import check_rule, source_name

__all__ = ["load_joint"]


def load_joint(
    source: str | Path,
    modalities: Sequence[Hearing],
    *,
    dtype: str | torch.dtype = "auto",
    options: Mapping[str, Any] | None = None,
    rules: Mapping[Hearing, Mapping[str, Any]] | None = None,
    name: str | None = None,
) -> dict[Hearing, ImageBindEncoder]:
    """Encoders that share one model; only the branches that they need are kept in memory.

    Args:
        source: a folder, a Hub id, or ``imagebind_huge.pth``.
        modalities: which.
        dtype: of the weights; ``"auto"`` keeps what is on disk.
        options: ``revision``, ``local_files_only``.
        rules: further arguments of the encoders, such as ``{"audio": {"scaled": False}}``.
        name: replaces the name of a folder or file in bundles.

    Raises:
        BackboneError: nothing there that can be loaded.
        EncoderError: a branch that is not there, or an argument that cannot be.
    """
    needed = {BRANCH_OF[modality] for modality in modalities}
    said = rules or {}
    for modality in modalities:
        check_rule(ImageBindEncoder, said.get(modality, {}), source)
    model, commit = load_imagebind(source, branches=needed, dtype=dtype, options=options)
    return {
        modality: ImageBindEncoder(
            model, modality, source=name or source_name(source), revision=commit, **said.get(modality, {})
        )
        for modality in modalities
    }
