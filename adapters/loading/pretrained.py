"""Reading pretrained models: no code from a repository is run, and a missing tensor is an error."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig
from transformers.utils import logging

from inlay.adapters.loading.files.checkpoint import has_pickled_weights
from inlay.adapters.loading.files.errors import BackboneError, reason_of
from inlay.hub.errors import InlayError
from inlay.hub.remote.reachable import ADVICE, cache_if_unreachable, is_missing_in_cache

__all__ = [
    "BackboneError",
    "check_feature_options",
    "check_loaded",
    "commit_of",
    "feature_option_names",
    "given",
    "load_weights",
    "loading",
    "model_type",
    "reason_of",
    "source_name",
]

_EMBEDDED = "inlay-miniature/"
_HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.\-]*/)?[A-Za-z0-9][\w.\-]*")
"""Names that are valid on the Hub; all others are paths."""
_LOADER_ARGUMENTS = frozenset({"source", "revision", "dtype", "local_files_only", "name"})
"""Keyword arguments that every loader has; all others of an encoder are its feature options."""


def load_weights(
    model_class: Any,
    source: str | Path,
    dtype: str | torch.dtype,
    options: Mapping[str, Any],
    unused: str | None = None,
    layers: int | None = None,
) -> Any:
    """Load a model of transformers; a missing tensor is an error, unless its name starts with ``unused``.

    Weights are read from safetensors files, or from pickles of tensors if there are none, see
    :mod:`inlay.adapters.loading.files.checkpoint`. Tensors of the file that the model does not have are not reported: a
    CLIP vision tower is always loaded from a file with two towers.

    Args:
        model_class: a model class of transformers.
        source: Hub id or folder.
        dtype: the dtype of the weights in memory; ``"auto"`` is that of the file.
        options: the options of ``from_pretrained``.
        unused: prefix of the tensors that are never used.
        layers: number of layers in the config; a file with more layers is an error. None for no check.

    Raises:
        BackboneError: tensors are missing or have another shape (named), or pickled weights are forbidden or contain
            other objects.
    """
    console: Any = logging
    # transformers would otherwise request the conversion of a repository without safetensors from the Hub.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    pickled = "gguf_file" not in options and has_pickled_weights(source, options)
    verbosity, bars = console.get_verbosity(), console.is_progress_bar_enabled()
    console.set_verbosity_error()
    if Path(source).is_dir():
        console.disable_progress_bar()
    try:
        model, found = model_class.from_pretrained(
            source,
            dtype=dtype,
            use_safetensors=not pickled,
            trust_remote_code=False,
            output_loading_info=True,
            # Otherwise transformers raises an error that names no tensor.
            ignore_mismatched_sizes=True,
            **options,
        )
    finally:
        console.set_verbosity(verbosity)
        if bars:
            console.enable_progress_bar()
    check_loaded(found, source, unused=unused)
    # Random weights would give the model another digest each time.
    if unused and any(str(name).startswith(unused) for name in found["missing_keys"]):
        setattr(model, unused.partition(".")[0], None)
    # A multimodal model may have an encoder with more layers than its language model.
    stacks = {_stack(name) for name in model.state_dict() if _layer(name) >= 0}
    further = [
        name
        for name in map(str, found["unexpected_keys"])
        if layers is not None and _layer(name) >= layers and (not stacks or _stack(name) in stacks)
    ]
    if further:
        raise BackboneError(
            f"{source}: config.json has {layers} layers, the weights have more: {', '.join(sorted(further)[:3])}; "
            "download the files again, or check that they belong together"
        )
    return model


def _layer(name: str) -> int:
    """``model.layers.7.mlp.up_proj.weight`` -> 7; -1 without a number."""
    found = re.search(r"(?:^|\.)(\d+)\.", name)
    return int(found[1]) if found else -1


def _stack(name: str) -> str:
    """``model.layers.7.mlp.up_proj.weight`` -> ``model.layers``; the whole name without a number."""
    return re.split(r"\.\d+\.", name, maxsplit=1)[0]


def check_loaded(
    found: Mapping[str, Any], source: str | Path, *, part: str | None = None, unused: str | None = None
) -> None:
    """Check the report of ``from_pretrained(..., output_loading_info=True)``, of transformers or diffusers.

    Args:
        found: the report, with ``missing_keys`` and ``mismatched_keys``.
        source: the source, for the error.
        part: the folder inside the source, for the error.
        unused: prefix of tensors that may be missing.

    Raises:
        BackboneError: names the tensors that are missing or have another shape.
    """
    needed = lambda name: unused is None or not name.startswith(unused)  # noqa: E731
    missing = sorted(filter(needed, map(str, found["missing_keys"])))
    other = sorted(filter(needed, (_named(entry) for entry in found["mismatched_keys"])))
    if missing or other:
        raise BackboneError(
            f"{source}: {f'{part}: ' if part else ''}{len(missing) + len(other)} tensors are missing or of another "
            f"shape: {', '.join([*missing, *other][:5])}; they would be left at random values. Download the files "
            "again, or check that they belong to this config.json"
        )


def _named(entry: Any) -> str:
    """``name (shape in the file, expected shape)`` of a mismatched tensor."""
    if isinstance(entry, tuple | list) and len(entry) == 3:
        name, came, expected = entry
        return f"{name} (the file has {list(came)}, the config {list(expected)})"
    return str(entry)


class loading:  # noqa: N801 - reads as a statement
    """Context manager that turns every exception of a loader into a :class:`BackboneError` naming the source.

    The libraries raise errors of many classes: for a truncated file a ``SafetensorError``, for a wrong value in
    config.json a ``TypeError``, a ``ZeroDivisionError`` or a validation error. Errors of inlay and lack of memory are
    not changed. If the Hub cannot be reached, only the cache is read, see :mod:`inlay.hub.remote.reachable`.

    Args:
        source: Hub id or folder.
        what: the kind of model, for the error.

    Raises:
        BackboneError: the source is a path that does not exist.
    """

    def __init__(self, source: str | Path, what: str) -> None:
        self.source, self.what = source, what
        self.unreachable = ""
        self._stack = ExitStack()

    def __enter__(self) -> None:
        if Path(self.source).exists():
            return
        if (source := str(self.source)).startswith(_EMBEDDED):
            raise BackboneError(
                f"{source}: commands and settings know the embedded models by this name; in Python, give the folder: "
                f"inlay.recipes.miniature.backbone_path({source.removeprefix(_EMBEDDED)!r})"
            )
        if isinstance(self.source, Path) or not _HUB_ID.fullmatch(self.source):
            raise BackboneError(
                f"{self.source}: no such folder (for the {self.what}); expected a folder, or a Hub id: owner/name"
            )
        self.unreachable = self._stack.enter_context(cache_if_unreachable())

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._stack.close()
        if self.unreachable and isinstance(error, Exception) and is_missing_in_cache(error):
            raise BackboneError(
                f"{self.source}: the {self.what} is not in the cache, and the Hub cannot be reached "
                f"({self.unreachable}); {ADVICE}"
            ) from error
        if isinstance(error, Exception) and not isinstance(error, InlayError | MemoryError | torch.OutOfMemoryError):
            raise BackboneError(
                f"{self.source}: no {self.what} could be loaded: {reason_of(error)} (expected a Hub id or a folder "
                "with config.json and weights)"
            ) from error


def model_type(source: str | Path, options: Mapping[str, Any]) -> str:
    """The ``model_type`` of a config.json, also if transformers has no such model; ``""`` if there is none."""
    config, _ = PretrainedConfig.get_config_dict(source, **options)
    return str(config.get("model_type", ""))


def feature_option_names(encoder: Callable[..., object]) -> list[str]:
    """The feature options of an encoder: the keyword-only arguments of its class or loader."""
    parameters = inspect.signature(encoder).parameters
    return [
        name for name, kind in parameters.items() if kind.kind is kind.KEYWORD_ONLY and name not in _LOADER_ARGUMENTS
    ]


def check_feature_options(encoder: Callable[..., object], options: Mapping[str, Any], source: str | Path) -> None:
    """Check that an encoder has feature options of these names.

    Raises:
        BackboneError: it has no such option.
    """
    known = feature_option_names(encoder)
    if unknown := sorted(set(options) - set(known)):
        raise BackboneError(
            f"{source}: this encoder has no argument {', '.join(unknown)}; it has: {', '.join(known) or 'none'}"
        )


def given(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def source_name(source: str | Path) -> str:
    """The Hub id of a source, also for a folder in the Hub's cache; for another path its last component.

    A bundle must not contain paths of a machine.
    """
    if not Path(source).exists():
        return str(source)
    place = Path(source).resolve()
    return _snapshot(place)[0] or place.name


def commit_of(model: Any, source: str | Path) -> str | None:
    """The commit on the Hub that a model was loaded from, 40 hex digits, or None."""
    commit = getattr(model.config, "_commit_hash", None) or _snapshot(Path(source).resolve())[1]
    return commit if isinstance(commit, str) and re.fullmatch("[0-9a-f]{40}", commit) else None


def _snapshot(folder: Path) -> tuple[str, str]:
    """Hub id and commit of ``models--OWNER--NAME/snapshots/COMMIT``; empty for another folder.

    Example:
        >>> _snapshot(Path("/cache/models--openai--clip/snapshots/3d74"))
        ('openai/clip', '3d74')
    """
    kind, _, name = folder.parent.parent.name.partition("--")
    inside = folder.parent.name == "snapshots" and kind == "models" and bool(name)
    return (name.replace("--", "/", 1), folder.name) if inside else ("", "")
