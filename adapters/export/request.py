"""The input of an exporter: the attached model and the options of the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.model import MultimodalModel

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """One export."""

    model: MultimodalModel[Adapter]
    """The adapter on its backbone; an exporter reads both and changes neither."""
    options: Any
    """An object of the target's options, see :class:`~inlay.adapters.export.target.Target`."""

    @property
    def adapter(self) -> Adapter:
        """The attached adapter."""
        return self.model.adapter

    @property
    def backbone(self) -> Backbone:
        """Its frozen models."""
        return self.model.backbone
