"""Weights of models that transformers lacks: folders of our own layout, and files as their authors released them.

A folder holds ``config.json`` with a ``model_type``, and ``model.safetensors``. A released file is a pickle of torch;
it is opened with ``weights_only=True``, so that nothing in it can run. Either way every tensor must have its place: one
that is missing, left over or of another shape is an error.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.utils.hub import cached_file, extract_commit_hash

from inlay.adapters.loading.pretrained import BackboneError, model_type
from inlay.hub.safety.text import shown

__all__ = ["filled", "kind_of", "read_folder", "read_released", "write_folder"]

M = TypeVar("M", bound=nn.Module)

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_DTYPES = ("float32", "bfloat16", "float16")


def kind_of(source: str | Path, options: Mapping[str, Any]) -> str:
    """The ``model_type`` of a folder or a repository; a released file is told by the names in it.

    Args:
        source: folder, Hub id, or a file that its authors released.
        options: ``revision``, ``local_files_only``.

    Returns:
        Such as ``clip``, ``beats``, ``imagebind``; ``""`` if nothing says it.
    """
    if not Path(source).is_file():
        return model_type(source, options)
    held = read_released(Path(source))
    if {"cfg", "model"} <= set(held):
        return "beats"
    return "imagebind" if any(str(name).startswith("modality_trunks.") for name in held) else ""


def write_folder(folder: str | Path, config: Mapping[str, Any], model: nn.Module) -> Path:
    """Write a model of ours as a folder; its buffers are part of it.

    Args:
        folder: where; it is made if it is not there.
        config: plain values with a ``model_type``.
        model: in any dtype.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / _CONFIG).write_text(json.dumps(dict(config), indent=2) + "\n", encoding="utf-8")
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, place / _WEIGHTS, {"format": "pt"})
    return place


def read_folder(source: str | Path, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor], str | None]:
    """Config, tensors and commit of a folder or a repository on the Hub.

    Where the config names a ``dtype``, the tensors have it, whatever they are on disk.

    Args:
        source: folder or Hub id.
        options: ``revision``, ``local_files_only``.

    Raises:
        BackboneError: no such files, or not what they should be.
    """
    try:
        found = {name: str(cached_file(source, name, **options)) for name in (_CONFIG, _WEIGHTS)}
        config = json.loads(Path(found[_CONFIG]).read_text(encoding="utf-8"))
        tensors = load_file(found[_WEIGHTS])
    except (OSError, ValueError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BackboneError(f"{source}: expected {_CONFIG} and {_WEIGHTS}: {reason}") from error
    if not isinstance(config, dict):
        raise BackboneError(f"{source}: {_CONFIG}: expected an object, got {type(config).__name__}")
    if (kept := config.pop("dtype", None)) is not None:
        tensors = _as(kept, tensors, source)
    return config, tensors, extract_commit_hash(found[_CONFIG], None)


def _as(kept: object, tensors: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """Tensors in the dtype that the config says they are for, whatever they have on disk, as transformers has it."""
    if kept not in _DTYPES:
        raise BackboneError(f"{source}: {_CONFIG}, dtype: expected one of {', '.join(_DTYPES)}, got {shown(kept)}")
    kind: torch.dtype = getattr(torch, str(kept))
    return {name: held.to(kind) if held.is_floating_point() else held for name, held in tensors.items()}


def read_released(path: Path) -> dict[str, Any]:
    """What a ``.pth`` or ``.pt`` file holds: tensors and plain values by name.

    Raises:
        BackboneError: it holds something else, or is no such file.
    """
    try:
        # Files from before torch 1.6 are no archives and cannot be mapped.
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BackboneError(f"{path}: expected weights of torch, and nothing that could run: {reason}") from error
    if not isinstance(held, dict):
        raise BackboneError(f"{path}: expected tensors by name, got {type(held).__name__}")
    return held


def filled(model: M, tensors: Mapping[str, Tensor], source: str | Path, dtype: str | torch.dtype = "auto") -> M:
    """Give a model on the meta device its tensors.

    Args:
        model: built under ``torch.device("meta")``.
        tensors: every parameter and buffer by name.
        source: for errors.
        dtype: of the weights in memory; ``"auto"`` keeps what they have.

    Raises:
        BackboneError: names what is missing, left over or of another shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    came = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [f"{name} is missing" for name in sorted(set(wanted) - set(came))]
    wrong += [f"{name} is left over" for name in sorted(set(came) - set(wanted))]
    wrong += [
        f"{name} has the shape {list(came[name])} instead of {list(wanted[name])}"
        for name in sorted(set(wanted) & set(came))
        if wanted[name] != came[name]
    ]
    if wrong:
        raise BackboneError(f"{source}: {len(wrong)} tensors are not as they should be: {'; '.join(wrong[:5])}")
    model.load_state_dict(dict(tensors), strict=True, assign=True)
    return model if isinstance(dtype, str) else model.to(dtype)
