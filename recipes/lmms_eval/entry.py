"""The entry point ``lmms_eval.models``: lmms-eval calls it for the names and classes of models of other packages.

This file runs whenever lmms-eval starts, so it imports no other module of inlay; the classes are imported on first use.
"""

from __future__ import annotations

from typing import Any

__all__ = ["manifest"]

ROOM = "inlay.recipes.lmms_eval.model"


def manifest() -> Any:
    """The model ``inlay`` as lmms-eval 0.7 registers it: one class for tasks with chat messages, one for the others."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="inlay",
        simple_class_path=f"{ROOM}.InlaySimple",
        chat_class_path=f"{ROOM}.InlayChat",
    )
