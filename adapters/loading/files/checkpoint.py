"""The weight files of a model: safetensors, or pickles of tensors (``pytorch_model.bin``, one file or shards).

Components of a diffusers pipeline, in subfolders, use another file name (``diffusion_pytorch_model``).

Older repositories on the Hub have only pickles. They are opened with ``weights_only=True``, so no code in them can run,
and every value must be a tensor. :func:`only_safetensors` forbids pickles altogether.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.utils.hub import cached_file

from inlay.adapters.loading.files.errors import BackboneError
from inlay.hub.safety.text import shown

__all__ = [
    "DIFFUSION",
    "MODEL",
    "PickleWarning",
    "check_pickles_allowed",
    "has_pickled_weights",
    "only_safetensors",
    "read_pickle",
    "stored_file",
]

MODEL = ("model", "pytorch_model")
"""File names of transformers' weights, as safetensors and as pickles, without suffixes."""
DIFFUSION = ("diffusion_pytorch_model", "diffusion_pytorch_model")
"""File names of diffusers' weights."""

_forbidden: ContextVar[bool] = ContextVar("only_safetensors", default=False)


class PickleWarning(UserWarning):
    """Weights are read from a pickle, because the model has no safetensors file."""


@contextmanager
def only_safetensors(forbid: bool = True) -> Iterator[None]:
    """Refuse pickled weights inside the ``with`` block.

    Args:
        forbid: whether to forbid them; False has no effect.
    """
    token = _forbidden.set(forbid or _forbidden.get())
    try:
        yield
    finally:
        _forbidden.reset(token)


def check_pickles_allowed(source: str | Path, name: str) -> None:
    """Check that pickles may be read here.

    Raises:
        BackboneError: :func:`only_safetensors` forbids it.
    """
    if _forbidden.get():
        raise BackboneError(
            f"{source}: the weights are a pickle ({name}), and safetensors_only allows only safetensors files; "
            "convert the model with transformers' save_pretrained, or remove the option"
        )


def stored_file(source: str | Path, name: str, options: Mapping[str, Any]) -> Path | None:
    """A file of a folder or of a repository on the Hub, or None if it has no such file.

    Args:
        source: folder or Hub id.
        name: the file's path relative to the source.
        options: ``revision``, ``local_files_only``, ``subfolder``.
    """
    if Path(source).is_dir():
        return path if (path := Path(source) / options.get("subfolder", "") / name).is_file() else None
    known = {key: options[key] for key in ("revision", "local_files_only", "subfolder") if key in options}
    found = cached_file(source, name, _raise_exceptions_for_missing_entries=False, **known)
    return None if found is None else Path(found)


def has_pickled_weights(source: str | Path, options: Mapping[str, Any], names: tuple[str, str] = MODEL) -> bool:
    """Whether the weights of a model are only pickles, which are then checked and named in a warning.

    Args:
        source: folder or Hub id.
        options: ``revision``, ``local_files_only``, ``subfolder``.
        names: :data:`MODEL`, or :data:`DIFFUSION` for a component of diffusers.

    Raises:
        BackboneError: pickles are forbidden, a shard is missing, or a pickle contains other objects than tensors.
    """
    safe, pickled = f"{names[0]}.safetensors", f"{names[1]}.bin"
    if any(stored_file(source, name, options) for name in (safe, f"{safe}.index.json")):
        return False
    whole = stored_file(source, pickled, options)
    index = None if whole else stored_file(source, f"{pickled}.index.json", options)
    if whole is None and index is None:
        return False
    place = "/".join(filter(None, (str(source), options.get("subfolder"))))
    check_pickles_allowed(place, pickled if whole else f"{pickled}.index.json")
    files = [whole] if whole else []
    if index is not None:
        files = [_shard(source, name, index.name, options) for name in _shard_names(place, index)]
    for path in files:
        read_pickle(path, place)
    shown_as = files[0].name if len(files) == 1 else f"{len(files)} files {names[1]}-*.bin"
    warnings.warn(
        f"{place}: there are no safetensors files, so the weights are read from {shown_as} (pickle, tensors only)",
        PickleWarning,
        stacklevel=2,
    )
    return True


def _shard_names(source: str | Path, index: Path) -> list[str]:
    """The files that an index names; a name that leads out of the folder is an error."""
    held = json.loads(index.read_text(encoding="utf-8"))
    shards = held.get("weight_map") if isinstance(held, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise BackboneError(f"{source}: {index.name}: expected a weight_map of tensor names to files")
    names = sorted(set(map(str, shards.values())))
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", name):
            raise BackboneError(f"{source}: {index.name}: expected names of files in the folder, got {shown(name)}")
    return names


def _shard(source: str | Path, name: str, index: str, options: Mapping[str, Any]) -> Path:
    if (path := stored_file(source, name, options)) is None:
        raise BackboneError(f"{source}: {index} names {name}, which is missing; download the files again")
    return path


def read_pickle(path: Path, source: str | Path, *, values: bool = False) -> dict[str, Any]:
    """Read a file of ``torch.save`` with ``weights_only=True``.

    Args:
        path: the file.
        source: the source, for errors.
        values: read the tensors and also allow plain values; otherwise only names and shapes are read (on the meta
            device), and every value must be a tensor.

    Raises:
        BackboneError: the file contains other objects, or is not such a file.
    """
    place = path if str(path) == str(source) else f"{source}: {path.name}"
    try:
        # Files from before torch 1.6 are not zip archives and cannot be memory mapped.
        mapped = values and zipfile.is_zipfile(path)
        held = torch.load(path, map_location="cpu" if values else "meta", weights_only=True, mmap=mapped)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, AttributeError, LookupError) as error:
        # torch's own text for a refused pickle recommends loading it without this protection.
        found = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        reason = (
            f"it contains an object of {found[1]}, which could run code" if found else "it is damaged, or another file"
        )
        raise BackboneError(f"{place}: expected a torch file of tensors and plain values: {reason}") from error
    if not isinstance(held, dict):
        raise BackboneError(f"{place}: expected tensors by name, got {type(held).__name__}")
    if not values and (other := [name for name, value in held.items() if not isinstance(value, Tensor)]):
        kind = type(held[other[0]])
        raise BackboneError(
            f"{place}: expected tensors by name, got {kind.__module__}.{kind.__qualname__} at {shown(str(other[0]))}"
        )
    return held
