"""Weights of models that transformers does not have: folders in our layout, and files in their released form.

A folder has ``config.json`` with a ``model_type``, and ``model.safetensors``. A released file is a pickle of torch;
it is opened with ``weights_only=True``, so no code in it can run. In both cases a tensor that is missing, unexpected or
of another shape is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.utils.hub import cached_file, extract_commit_hash

from inlay.adapters.loading.files.checkpoint import check_pickles_allowed, read_pickle
from inlay.adapters.loading.pretrained import BackboneError, model_type, reason_of
from inlay.hub.safety.text import shown

__all__ = ["fill_model", "kind_of", "read_folder", "read_released", "write_folder"]

M = TypeVar("M", bound=nn.Module)

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_DTYPES = ("float32", "bfloat16", "float16")


def kind_of(source: str | Path, options: Mapping[str, Any]) -> str:
    """The ``model_type`` of a folder or a repository; a released file is recognised by the names in it.

    Args:
        source: folder, Hub id, or a released file.
        options: ``revision``, ``local_files_only``.

    Returns:
        The type, such as ``clip``, ``beats`` or ``imagebind``; ``""`` if it cannot be recognised.
    """
    if not Path(source).is_file():
        return model_type(source, options)
    held = read_released(Path(source))
    if {"cfg", "model"} <= set(held):
        return "beats"
    return "imagebind" if any(str(name).startswith("modality_trunks.") for name in held) else ""


def write_folder(folder: str | Path, config: Mapping[str, Any], model: nn.Module) -> Path:
    """Write a model as a folder in our layout, buffers included.

    Args:
        folder: created if it does not exist.
        config: JSON values with a ``model_type``.
        model: the model, in any dtype.
    """
    place = Path(folder)
    text = json.dumps(dict(config), indent=2) + "\n"
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    place.mkdir(parents=True, exist_ok=True)
    (place / _CONFIG).write_text(text, encoding="utf-8")
    save_file(tensors, place / _WEIGHTS, {"format": "pt"})
    return place


def read_folder(source: str | Path, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor], str | None]:
    """Config, tensors and commit of a folder or a repository on the Hub.

    If the config has a ``dtype``, the tensors are converted to it, as transformers does.

    Args:
        source: folder or Hub id.
        options: ``revision``, ``local_files_only``.

    Raises:
        BackboneError: a file is missing or malformed.
    """
    try:
        found = {name: str(cached_file(source, name, **options)) for name in (_CONFIG, _WEIGHTS)}
        config = json.loads(Path(found[_CONFIG]).read_text(encoding="utf-8"))
        tensors = load_file(found[_WEIGHTS])
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise BackboneError(f"{source}: expected {_CONFIG} and {_WEIGHTS}: {reason_of(error)}") from error
    if not isinstance(config, dict):
        raise BackboneError(f"{source}: {_CONFIG}: expected an object, got {type(config).__name__}")
    if (dtype := config.pop("dtype", None)) is not None:
        tensors = _converted(dtype, tensors, source)
    return config, tensors, extract_commit_hash(found[_CONFIG], None)


def _converted(dtype: object, tensors: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """Floating-point tensors in the dtype of the config."""
    if dtype not in _DTYPES:
        raise BackboneError(f"{source}: {_CONFIG}, dtype: expected one of {', '.join(_DTYPES)}, got {shown(dtype)}")
    kind: torch.dtype = getattr(torch, str(dtype))
    return {name: held.to(kind) if held.is_floating_point() else held for name, held in tensors.items()}


def read_released(path: Path) -> dict[str, Any]:
    """The content of a ``.pth`` or ``.pt`` file: tensors and plain values by name.

    Raises:
        BackboneError: the file contains other objects, or is not a file of torch.
    """
    check_pickles_allowed(path, "as its authors released it")
    return read_pickle(path, path, values=True)


def fill_model(model: M, tensors: Mapping[str, Tensor], source: str | Path, dtype: str | torch.dtype = "auto") -> M:
    """Assign tensors to a model on the meta device.

    Args:
        model: built under ``torch.device("meta")``.
        tensors: every parameter and buffer by name.
        source: the source, for errors.
        dtype: the dtype of the weights in memory; ``"auto"`` keeps that of the tensors.

    Raises:
        BackboneError: names the tensors that are missing, unexpected or of another shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    wrong = [f"{name} is missing" for name in sorted(set(wanted) - set(found))]
    wrong += [f"{name} is unexpected" for name in sorted(set(found) - set(wanted))]
    wrong += [
        f"{name} has the shape {list(found[name])} instead of {list(wanted[name])}"
        for name in sorted(set(wanted) & set(found))
        if wanted[name] != found[name]
    ]
    if wrong:
        raise BackboneError(f"{source}: {len(wrong)} tensors do not fit the model: {'; '.join(wrong[:5])}")
    model.load_state_dict({name: tensors[name] for name in wanted}, strict=True, assign=True)
    return model if isinstance(dtype, str) else model.to(dtype)
