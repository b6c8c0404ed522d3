"""The facts that name a cache space: everything that frozen features depend on besides the medium.

All bytes of the weights count, so a fine-tuned encoder has another space. The preprocessing is identified by its result
for a fixed pattern, which depends on sizes, means, resampling and geometry, also in encoders from other packages; any
other option of an encoder has to be in its ``port.settings``.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig

from inlay.adapters.compatibility.canary import pattern
from inlay.adapters.compatibility.digest import exact_digest
from inlay.adapters.encoders.protocol import Encoder
from inlay.adapters.media.geometry import Geometry
from inlay.adapters.media.modality import Modality

__all__ = ["configs_of", "encoder_facts", "tensor_digest", "versions"]

_LIBRARIES = ("inlay", "torch", "transformers", "numpy", "pillow", "soundfile", "soxr", "av")
_NO_EFFECT = frozenset({"_name_or_path", "architectures", "transformers_version", "dtype"})
"""Fields of a config that describe only the origin of a model."""


def encoder_facts(encoder: Encoder, modality: Modality, geometry: Geometry) -> dict[str, Any]:
    """Plain values that are equal for two encoders only if their features are.

    Args:
        encoder: the encoder with its weights.
        modality: the modality of the media.
        geometry: how a picture or a frame becomes a square.
    """
    module: Any = encoder
    inputs = encoder.preprocess([pattern(modality, encoder.port)], geometry)
    tensors = [inputs] if isinstance(inputs, Tensor) else [inputs[name] for name in sorted(inputs)]
    return {
        "kind": "features",
        "encoder": type(encoder).__qualname__,
        "family": encoder.port.family,
        "modality": modality,
        "geometry": geometry,
        "weights": exact_digest(module),
        "configs": configs_of(encoder),
        "settings": dict(encoder.port.settings),
        "shape": [encoder.tokens, encoder.width],
        "dtype": str(encoder.dtype),
        "device": encoder.device.type,
        "preprocessing": tensor_digest(tensors),
        "versions": versions(),
    }


def configs_of(module: Any) -> list[dict[str, str]]:
    """Every config inside a module, because settings such as the number of attention heads are not in the weights."""
    found: dict[int, dict[str, str]] = {}
    for part in module.modules():
        config = getattr(part, "config", None)
        if isinstance(config, PretrainedConfig):
            found[id(config)] = {key: repr(value) for key, value in config.to_dict().items() if key not in _NO_EFFECT}
        elif dataclasses.is_dataclass(config):
            found[id(config)] = {"config": repr(config)}
    return list(found.values())


def tensor_digest(tensors: Iterable[Tensor]) -> str:
    """64 hex digits over data types, shapes and bytes."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def versions() -> dict[str, str]:
    """Versions of the libraries that decode, prepare and compute; another version may round differently."""
    found = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
