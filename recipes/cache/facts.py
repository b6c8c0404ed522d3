"""What frozen features depend on besides the medium: the facts whose digest is the name of a space.

Weights are digested whole, since a cache must not take one fine-tuned model for another. Preprocessing is known by what
it *does*: the digest of a fixed pattern after it, which holds sizes, means, resampling and the geometry of any encoder,
also of one that was written elsewhere. What an encoder does beyond that it says in ``port.settings``.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from inlay.adapters.compatibility.canary import PATTERNS
from inlay.adapters.compatibility.digest import exact_digest
from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.encoders.protocol import Encoder, Inputs
from inlay.adapters.media.image import Geometry
from inlay.adapters.media.modality import Modality

__all__ = ["configs_of", "encoder_facts", "module_digest", "pattern_of", "versions"]

_LIBRARIES = ("inlay", "torch", "transformers", "numpy", "pillow")
_READERS: Mapping[str, tuple[str, ...]] = {"image": (), "audio": ("soundfile", "soxr"), "video": ("av",)}
_IDLE = frozenset({"_name_or_path", "architectures", "transformers_version", "dtype"})
"""Fields of a config that say where a model comes from, and no more."""

_digests: WeakKeyDictionary[nn.Module, tuple[object, str]] = WeakKeyDictionary()
"""Of models, with where their tensors lay and how often each was written: reading all of one takes seconds."""


def encoder_facts(encoder: Encoder, modality: Modality, geometry: Geometry) -> dict[str, Any]:
    """Plain values that tell this encoder's features from all others.

    Args:
        encoder: loaded.
        modality: of the media.
        geometry: how a picture, or a frame, becomes a square.
    """
    inputs = encoder.preprocess([pattern_of(modality).source], geometry)
    port = encoder.port
    return {
        "kind": "features",
        "encoder": type(encoder).__qualname__,
        "family": port.family,
        "modality": modality,
        "geometry": geometry,
        "weights": module_digest(encoder),
        "configs": configs_of(encoder),
        "settings": dict(port.settings),
        "shape": [encoder.tokens, encoder.width],
        "dtype": str(encoder.dtype),
        "device": encoder.device.type,
        "preprocessing": _inputs_digest(inputs),
        "versions": versions(modality),
    }


def pattern_of(modality: Modality) -> MediaPart:
    """The fixed medium of a modality, from a formula."""
    return MediaPart(modality, PATTERNS[modality][1]())


def module_digest(module: Any) -> str:
    """Digest of every byte of a module, read again only if a tensor was written or moved."""
    tensors = [*module.parameters(), *module.buffers()]
    state = [(tensor.data_ptr(), tensor._version, tensor.dtype, tensor.device) for tensor in tensors]
    known, digest = _digests.get(module, (None, ""))
    if known != state:
        digest = exact_digest(module)
        _digests[module] = (state, digest)
    return digest


def configs_of(module: Any) -> list[dict[str, Any]]:
    """Every config inside a module, such as the number of heads, which no weight tells."""
    found: dict[int, dict[str, Any]] = {}
    for part in module.modules():
        config = getattr(part, "config", None)
        if isinstance(config, PretrainedConfig):
            found[id(config)] = {key: repr(value) for key, value in config.to_dict().items() if key not in _IDLE}
        elif dataclasses.is_dataclass(config):
            found[id(config)] = {"config": repr(config)}
    return list(found.values())


def versions(*modalities: str) -> dict[str, str]:
    """Of the libraries that decode, prepare and compute: another one may round otherwise."""
    names = [*_LIBRARIES, *(name for modality in modalities for name in _READERS[modality])]
    return {name: found for name in names if (found := _version(name))}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _inputs_digest(inputs: Inputs) -> str:
    tensors = {"": inputs} if isinstance(inputs, Tensor) else inputs
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
