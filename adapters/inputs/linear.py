"""Linear input projector: ``y = W x + b`` for every feature (LLaVA 1.0, https://arxiv.org/abs/2304.08485)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from inlay.adapters.parts.fields import PortSize, check_fields, complete

__all__ = ["LinearConfig", "LinearProjector"]


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """Sizes of the layer."""

    width_in: PortSize = 0
    """Values per feature."""
    width_out: PortSize = 0
    """Values per LLM embedding."""

    def __post_init__(self) -> None:
        check_fields(self)


class LinearProjector(nn.Module):
    """``[n, tokens, width_in]`` -> ``[n, tokens, width_out]``.

    Example:
        >>> sum(p.numel() for p in LinearProjector(LinearConfig(width_in=1024, width_out=4096)).parameters())
        4198400
    """

    kind = "linear"
    reads_prompt = False

    def __init__(self, config: LinearConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        self.layer = nn.Linear(config.width_in, config.width_out)

    def tokens(self, features: int) -> int:
        """The number of LLM positions: one for each feature."""
        return features

    def forward(self, features: Tensor) -> Tensor:
        """``[n, tokens, width_in]`` -> ``[n, tokens, width_out]``."""
        projected: Tensor = self.layer(features)
        return projected
