"""ImageBind on disk (a folder of ours, or ``imagebind_huge.pth`` as it was released), for one or several modalities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.encoders.frames import FrameEncoder
from inlay.adapters.encoders.imagebind.config import BRANCHES, ImageBindConfig
from inlay.adapters.encoders.imagebind.encoder import BRANCH_OF, Hearing, ImageBindEncoder
from inlay.adapters.encoders.imagebind.model import ImageBind
from inlay.adapters.encoders.protocol import Encoder
from inlay.adapters.encoders.vision import EncoderError
from inlay.adapters.loading.pretrained import check_rule, source_name
from inlay.adapters.loading.weights_file import filled, read_folder, read_released, write_folder

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
        source: a folder of ours, a Hub id, or a released file, which is taken to be of the released sizes.
        branches: only these; all that there are if not given.
        dtype: of the weights in memory; ``"auto"`` keeps what is on disk.
        options: ``revision``, ``local_files_only``.

    Returns:
        The model, and the commit on the Hub that it is from, if it is.

    Raises:
        BackboneError: nothing there that can be loaded; a tensor is missing, left over or of another shape.
        EncoderError: a branch that is not there, or sizes that cannot be.
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
    model = filled(model, kept, source, dtype)
    _check_scales(model, source)
    return model, commit


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


def _branch(name: str) -> str:
    """``modality_trunks.audio.blocks.0...`` -> ``audio``."""
    return name.split(".")[1] if "." in name else ""


def _check_scales(model: ImageBind, source: str | Path) -> None:
    """The constants are written twice, in the sizes and in the weights; a port speaks of the former."""
    for name, sizes in model.config.branches.items():
        said = getattr(sizes, "scale", None)
        if said is not None:
            held = float(model.state_dict()[f"modality_postprocessors.{name}.1.log_logit_scale"].float().exp())
            if abs(held - said) > 0.02 * said:
                raise EncoderError(f"{source}: {name}: the scale is {said} in the config and {held:.3f} in the weights")
