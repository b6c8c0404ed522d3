"""The embedding that ends each row of a tiled picture's features, LLaVA 1.6's ``image_newline``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from inlay.adapters.parts.build import build_module
from inlay.adapters.parts.fields import PortSize, check_fields, complete

__all__ = ["NewlineConfig", "NewlineRow", "build_newline"]


@dataclass(frozen=True, kw_only=True)
class NewlineConfig:
    """Size of the row."""

    width: PortSize = 0
    """Values per embedding of the LLM."""

    def __post_init__(self) -> None:
        check_fields(self)


class NewlineRow(nn.Module):
    """One trained embedding ``[width]``.

    Args:
        config: its size.
    """

    kind = "newline"

    def __init__(self, config: NewlineConfig) -> None:
        super().__init__()
        self.config = complete(config)
        self.row = nn.Parameter(torch.randn(config.width) * config.width**-0.5)


def build_newline(kind: str, values: Mapping[str, Any], *, parameters: int | None = None) -> NewlineRow:
    """Build a row from plain, untrusted values, as stored in a bundle.

    Raises:
        BundleError: as in :func:`inlay.adapters.parts.build.build_module`.
    """
    kinds = {NewlineRow.kind: (NewlineRow, NewlineConfig)}
    built = build_module(kinds, kind, values, unknown="unknown newline {!r}; known: {}", parameters=parameters)
    return cast(NewlineRow, built)
