"""Files of a foreign checkpoint: the names of tensors are read first, the tensors lazily.

A source is one file, or a folder with ``config.json`` and weights in one file or in shards. Safetensors are memory
mapped. Pickles are opened with ``weights_only=True``, so no code in them can run, and memory mapped if torch 1.6 or
later wrote them. Of a sharded checkpoint only the files with a requested tensor are opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from inlay.adapters.loading.files.checkpoint import check_pickles_allowed, read_pickle
from inlay.adapters.loading.files.errors import BackboneError, reason_of
from inlay.hub.errors import InlayError
from inlay.hub.safety.text import shown

__all__ = ["ConvertError", "Joined", "Source", "Tensors"]

_WHOLE = ("model.safetensors", "pytorch_model.bin")
_MAX_JSON_BYTES = 1 << 25
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_BESIDE = frozenset(
    {"optimizer", "scaler", "epoch", "iters", "iter", "step", "lr_scheduler", "args", "hyper_parameters"}
)
"""Entries of a training checkpoint, next to ``model``, that are not weights."""


class ConvertError(InlayError):
    """A foreign checkpoint cannot be converted: unknown format, or a tensor is missing, extra or of another shape."""


class Tensors(Mapping[str, Tensor]):
    """A mapping from name to tensor over one or several files; a file is opened when one of its tensors is read.

    Args:
        places: name of a tensor -> its file.
    """

    def __init__(self, places: Mapping[str, Path]) -> None:
        self._places = dict(places)
        self._open: dict[Path, Any] = {}

    @classmethod
    def of_file(cls, path: Path) -> Tensors:
        """All tensors of a file.

        Raises:
            ConvertError: the file contains other objects than tensors, or is damaged.
        """
        held = _opened(path)
        tensors = cls(dict.fromkeys(held.keys(), path))
        tensors._open[path] = held
        return tensors

    @property
    def opened(self) -> frozenset[str]:
        """Names of the files that were opened."""
        return frozenset(path.name for path in self._open)

    def __getitem__(self, name: str) -> Tensor:
        path = self._places[name]
        if path not in self._open:
            self._open[path] = _opened(path)
        held = self._open[path]
        if name not in held.keys():  # noqa: SIM118 - safe_open has no __contains__
            raise ConvertError(f"{path}: expected the tensor {name}, which the index assigns to this file, found none")
        tensor: Tensor = held[name] if isinstance(held, dict) else held.get_tensor(name)
        return tensor.detach()  # some files contain parameters

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Joined(Mapping[str, Tensor]):
    """The tensors of several files, with a prefix for each file.

    Args:
        files: prefix -> tensors.
    """

    def __init__(self, files: Mapping[str, Mapping[str, Tensor]]) -> None:
        self._places = {f"{prefix}{name}": (held, name) for prefix, held in files.items() for name in held}

    def __getitem__(self, name: str) -> Tensor:
        held, own = self._places[name]
        return held[own]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Source:
    """A foreign checkpoint on disk.

    Args:
        path: a file or a folder.

    Raises:
        ConvertError: there is no such file or folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise ConvertError(
                f"{path}: no such file or folder; download the checkpoint first, such as with `hf download OWNER/NAME`"
            )
        self.folder = self.path if self.path.is_dir() else self.path.parent

    def __str__(self) -> str:
        return str(self.path)

    def has(self, *names: str) -> Path | None:
        """The first of these files that the folder has; None if it has none."""
        return next((self.folder / name for name in names if (self.folder / name).is_file()), None)

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; empty if there is none.

        Raises:
            ConvertError: it is not a JSON object.
        """
        if (path := self.has(name)) is None:
            return {}
        if (size := path.stat().st_size) > _MAX_JSON_BYTES:
            raise ConvertError(f"{path}: expected at most {_MAX_JSON_BYTES:,} bytes of JSON, got {size:,}")
        try:
            # Not the strict reader of bundles: tokenizers write integers of 31 digits.
            held = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ConvertError(f"{path}: expected JSON: {reason_of(error)}") from error
        if not isinstance(held, dict):
            raise ConvertError(f"{path}: expected a JSON object, got {type(held).__name__}")
        return held

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.json``; empty if there is none."""
        return self.json("config.json")

    @cached_property
    def weights(self) -> Tensors:
        """All weights of the source: the file itself, or those of the folder by its index.

        Raises:
            ConvertError: there are no weights, or an index names a file outside the folder.
        """
        if self.path.is_file():
            return Tensors.of_file(self.path)
        for name in _WHOLE:
            if self.has(name):
                return Tensors.of_file(self.folder / name)
            if self.has(f"{name}.index.json"):
                return self._sharded(f"{name}.index.json")
        raise ConvertError(f"{self}: expected weights ({', '.join(_WHOLE)}, or an index of shards), found none")

    def _sharded(self, index: str) -> Tensors:
        shards = self.json(index).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise ConvertError(f"{self}: {index}: expected a weight_map of tensor names to files")
        for name in set(map(str, shards.values())):
            if not _SHARD.fullmatch(name):
                raise ConvertError(f"{self}: {index}: expected names of files in the folder, got {shown(name)}")
            if not (self.folder / name).is_file():
                raise ConvertError(f"{self}: {index} names {name}, which is missing; download the files again")
        return Tensors({tensor: self.folder / str(name) for tensor, name in shards.items()})


def _opened(path: Path) -> Any:
    """Tensors by name: a dictionary of a pickle, or an open safetensors file."""
    if path.suffix == ".safetensors":
        try:
            return safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise ConvertError(f"{path}: {reason_of(error)}") from error
    try:
        check_pickles_allowed(path, path.name)
        held = read_pickle(path, path, values=True)
    except BackboneError as error:
        raise ConvertError(
            f"{error}. If you trust the file, load it in a sandbox and save its tensors alone: "
            "torch.save(torch.load(FILE, weights_only=False)['model'], NEW_FILE)"
        ) from error
    inside = held.get("model")
    if isinstance(inside, dict):
        held = {**_settings(held), **_flat(inside)}
    if other := sorted(str(name) for name, value in held.items() if not isinstance(value, Tensor)):
        kind = type(held[other[0]])
        raise ConvertError(f"{path}: expected tensors by name, got {kind.__qualname__} at {shown(other[0])}")
    return held


def _flat(held: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict of a model, also if it is nested by module: ``{"projector": {"0.weight": ...}}``."""
    flat: dict[str, Any] = {}
    for name, value in held.items():
        inner = {f"{name}.{key}": held for key, held in value.items()} if isinstance(value, dict) else {name: value}
        flat.update(inner)
    return flat


def _settings(held: Mapping[str, Any]) -> dict[str, Any]:
    """Entries next to ``model`` that are neither training state nor plain settings, and so must be tensors."""
    return {name: held[name] for name in held if name not in {*_BESIDE, "model", "config"}}
