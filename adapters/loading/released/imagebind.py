"""ImageBind on disk (a folder in our layout, or the released ``imagebind_huge.pth``), for one or several modalities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.encoders.frames import FrameEncoder
from inlay.adapters.encoders.imagebind import ImageBind, ImageBindConfig, ImageBindEncoder
from inlay.adapters.encoders.imagebind.config import BRANCHES
from inlay.adapters.encoders.imagebind.encoder import BRANCH_OF
from inlay.adapters.encoders.protocol import Encoder, EncoderError
from inlay.adapters.loading.dtype import chosen_dtype, computable
from inlay.adapters.loading.pretrained import check_feature_options, source_name
from inlay.adapters.loading.released.weights_file import fill_model, read_folder, read_released, write_folder
from inlay.adapters.media.modality import Modality

__all__ = ["load_imagebind", "load_joint", "save_imagebind"]


def save_imagebind(model: ImageBind, folder: str | Path) -> Path:
    """Write ``config.json`` and ``model.safetensors``."""
    return write_folder(folder, model.config.to_json(), model)


def load_imagebind(
    source: str | Path,
    *,
    branches: Iterable[str] | None = None,
    dtype: str | torch.dtype = "auto",
    options: Mapping[str, Any] | None = None,
) -> tuple[ImageBind, str | None]:
    """Read a model.

    Args:
        source: a folder in our layout, a Hub id, or a released file, which must have the released sizes.
        branches: read only these; all branches of the file if not given.
        dtype: the dtype of the weights in memory; ``"auto"`` is that of the file.
        options: ``revision``, ``local_files_only``.

    Returns:
        The model, and its commit if it came from the Hub.

    Raises:
        BackboneError: the files cannot be read; a tensor is missing, unexpected or of another shape.
        EncoderError: the file lacks a branch, or sizes are out of bounds.
    """
    commit = None
    tensors: Mapping[str, Tensor]
    if Path(source).is_file():
        tensors = read_released(Path(source))
        present = {_branch(name) for name in tensors}
        config = ImageBindConfig.huge().only(name for name in BRANCHES if name in present)
    else:
        values, tensors, commit = read_folder(source, options or {})
        config = ImageBindConfig.from_json(values)
    if branches is not None:
        config = config.only(branches)
    dropped = set(BRANCHES) - set(config.branches)
    with torch.device("meta"):
        model = ImageBind(config)
    kept = {name: tensor for name, tensor in tensors.items() if _branch(name) not in dropped}
    model = fill_model(model, kept, source, dtype)
    _check_scales(model, source)
    return model, commit


def load_joint(
    source: str | Path,
    modalities: Sequence[Modality],
    *,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    options: Mapping[str, Any] | None = None,
    feature_options: Mapping[Modality, Mapping[str, Any]] | None = None,
    name: str | None = None,
) -> dict[Modality, Encoder]:
    """Load encoders that share one model, with only the branches that they need.

    Args:
        source: a folder, a Hub id, or ``imagebind_huge.pth``.
        modalities: the modalities of the encoders.
        dtype: the dtype of the weights in memory; for ``"auto"`` see :func:`inlay.adapters.loading.dtype.chosen_dtype`.
        device: where the model is put; the CPU if not given.
        options: ``revision``, ``local_files_only``.
        feature_options: keyword arguments of the encoders, such as ``{"audio": {"scaled": False}}``. With ``frames`` or
            ``pooling`` a video is encoded as single frames, see :class:`FrameEncoder`.
        name: the name that bundles store instead of that of a folder or file.

    Raises:
        BackboneError: the files cannot be read.
        EncoderError: the file lacks a branch, or an argument is out of bounds.
    """
    needed = {BRANCH_OF[modality] for modality in modalities}
    chosen = {modality: dict((feature_options or {}).get(modality, {})) for modality in modalities}
    sampling = {key: chosen["video"].pop(key) for key in ("frames", "pooling") if key in chosen.get("video", {})}
    for own in chosen.values():
        check_feature_options(ImageBindEncoder, own, source)
    kind = chosen_dtype(dtype, device)
    model, commit = load_imagebind(source, branches=needed, dtype=kind, options=options)
    model = computable(model, kind, device)
    if device is not None:
        model = model.to(device)
    common: dict[str, Any] = {"source": name or source_name(source), "revision": commit}
    encoders: dict[Modality, Encoder] = {
        modality: ImageBindEncoder(model, modality, **common, **own) for modality, own in chosen.items()
    }
    if sampling:
        encoders["video"] = FrameEncoder(ImageBindEncoder(model, "image", **common), **sampling)
    return encoders


def _branch(name: str) -> str:
    """``modality_trunks.audio.blocks.0...`` -> ``audio``."""
    return name.split(".")[1] if "." in name else ""


def _check_scales(model: ImageBind, source: str | Path) -> None:
    """Check that the scales in the config, which ports report, equal those in the weights."""
    for name, sizes in model.config.branches.items():
        configured = getattr(sizes, "scale", None)
        if configured is not None:
            stored = float(model.state_dict()[f"modality_postprocessors.{name}.1.log_logit_scale"].float().exp())
            if abs(stored - configured) > 0.02 * configured:
                raise EncoderError(
                    f"{source}: {name}: the scale is {configured} in the config and {stored:.3f} in the weights"
                )
