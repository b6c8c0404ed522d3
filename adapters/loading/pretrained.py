"""Reading pretrained models: safetensors alone, no code from a repository, every tensor that is needed or an error."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig
from transformers.utils import logging

from inlay.hub.errors import InlayError

__all__ = [
    "BackboneError",
    "check_rule",
    "chosen_dtype",
    "commit_of",
    "given",
    "load_weights",
    "loading",
    "model_type",
    "source_name",
]


class BackboneError(InlayError):
    """A backbone cannot be put together."""


def load_weights(
    kind: Any, source: str | Path, dtype: str | torch.dtype, options: Mapping[str, Any], unused: str | None = None
) -> Any:
    """Load weights; a tensor that is needed and missing is an error, unless its name starts with ``unused``.

    What the file has beyond that is not reported: a CLIP vision tower is always loaded from a file with two towers.

    Args:
        kind: a model class of transformers.
        source: Hub id or folder.
        dtype: of the weights in memory; ``"auto"`` keeps what is on disk.
        options: of ``from_pretrained``.
        unused: what the names of tensors begin with that nobody will use.

    Raises:
        BackboneError: names the tensors that are missing or of another shape.
    """
    console: Any = logging
    noise, bars = console.get_verbosity(), console.is_progress_bar_enabled()
    console.set_verbosity_error()
    if Path(source).is_dir():
        console.disable_progress_bar()
    try:
        model, found = kind.from_pretrained(
            source, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **options
        )
    finally:
        console.set_verbosity(noise)
        if bars:
            console.enable_progress_bar()
    lacking = sorted({*map(str, found["missing_keys"]), *map(str, found["mismatched_keys"])})
    if lacking := [name for name in lacking if unused is None or not name.startswith(unused)]:
        raise BackboneError(
            f"{source}: {len(lacking)} tensors are missing or of another shape: {', '.join(lacking[:5])}; they would "
            "be left at random values. Get the files again, or check that they belong to this config.json"
        )
    return model


class loading:  # noqa: N801 - reads as a statement
    """Turn the many errors of loading into one that names what was asked for."""

    def __init__(self, source: str | Path, what: str) -> None:
        self.source, self.what = source, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, ValueError, KeyError)):
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise BackboneError(
                f"{self.source}: no {self.what} could be loaded: {reason} (expected a Hub id or a folder with "
                "config.json and safetensors weights)"
            ) from error


def model_type(source: str | Path, options: Mapping[str, Any]) -> str:
    """The ``model_type`` of a config.json, also of models that transformers does not know; ``""`` if it says none."""
    config, _ = PretrainedConfig.get_config_dict(source, **options)
    return str(config.get("model_type", ""))


def check_rule(encoder: Callable[..., object], rule: Mapping[str, Any], source: str | Path) -> None:
    """Whether an encoder takes further arguments of these names.

    Raises:
        BackboneError: it does not.
    """
    taken = [name for name, kind in inspect.signature(encoder).parameters.items() if kind.kind is kind.KEYWORD_ONLY]
    taken = [name for name in taken if name not in ("source", "revision")]
    if unknown := sorted(set(rule) - set(taken)):
        raise BackboneError(
            f"{source}: this encoder has no argument {', '.join(unknown)}; it has: {', '.join(taken) or 'none'}"
        )


def given(**options: Any) -> dict[str, Any]:
    """Those options that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def chosen_dtype(dtype: str | torch.dtype) -> str | torch.dtype:
    """A data type by its name; ``"auto"`` stays what it is.

    Raises:
        BackboneError: no such data type.
    """
    if isinstance(dtype, str) and dtype != "auto":
        found = getattr(torch, dtype, None)
        if not isinstance(found, torch.dtype):
            raise BackboneError(f"dtype: expected 'auto', 'float32', 'bfloat16' or 'float16', got {dtype!r}")
        return found
    return dtype


def source_name(source: str | Path) -> str:
    """A Hub id as it is; of a folder only its last name: a bundle must not carry paths of a machine."""
    return Path(source).resolve().name if Path(source).exists() else str(source)


def commit_of(model: Any) -> str | None:
    """The commit that a model was loaded from, 40 hex digits, if it came from the Hub."""
    commit = getattr(model.config, "_commit_hash", None)
    return commit if isinstance(commit, str) and re.fullmatch("[0-9a-f]{40}", commit) else None
