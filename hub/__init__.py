"""The bundle: an adapter as files, read safely, sent to a hub and downloaded from it. Independent of any model.

The names below are imported on first use, so that ``import inlay.hub`` is fast and imports neither torch nor pydantic.
Folders are opened with POSIX calls (``openat``, ``flock``): Linux and macOS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from inlay.hub.errors import BundleError, HubError, InlayError

if TYPE_CHECKING:
    from inlay.hub.format.bundle import Bundle
    from inlay.hub.format.card import render_card
    from inlay.hub.format.manifest import (
        FORMAT_VERSION,
        CanarySpec,
        FileSpec,
        LayoutSpec,
        Manifest,
        OriginSpec,
        PartSpec,
        PortSpec,
        TrainingSpec,
    )
    from inlay.hub.format.peft_folder import LoraFolder, LoraSpec
    from inlay.hub.format.signature import SignatureError, sign, verify_signature
    from inlay.hub.remote.pull import Pulled, pull
    from inlay.hub.remote.push import Pushed, push

__all__ = [
    "FORMAT_VERSION",
    "Bundle",
    "BundleError",
    "CanarySpec",
    "FileSpec",
    "HubError",
    "InlayError",
    "LayoutSpec",
    "LoraFolder",
    "LoraSpec",
    "Manifest",
    "OriginSpec",
    "PartSpec",
    "PortSpec",
    "Pulled",
    "Pushed",
    "SignatureError",
    "TrainingSpec",
    "pull",
    "push",
    "render_card",
    "sign",
    "verify_signature",
]

_HOMES = {"Bundle": "format.bundle", "render_card": "format.card"}
_HOMES |= dict.fromkeys(("LoraFolder", "LoraSpec"), "format.peft_folder")
_HOMES |= dict.fromkeys(("SignatureError", "sign", "verify_signature"), "format.signature")
_HOMES |= dict.fromkeys(("Pulled", "pull"), "remote.pull") | dict.fromkeys(("Pushed", "push"), "remote.push")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'format.manifest')}"), name)
