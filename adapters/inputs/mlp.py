"""MLP input projector: ``depth`` linear layers with exact GELU between them.

With two layers it is LLaVA 1.5's ``mlp2x_gelu`` (Liu et al., 2023, https://arxiv.org/abs/2310.03744).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from inlay.adapters.parts.fields import Depth, PortSize, check_fields, complete

__all__ = ["MlpConfig", "MlpProjector"]


@dataclass(frozen=True, kw_only=True)
class MlpConfig:
    """Sizes of the layers."""

    width_in: PortSize = 0
    """Values per feature."""
    width_out: PortSize = 0
    """Values per LLM embedding; also the hidden width."""
    depth: Depth = 2
    """Linear layers."""

    def __post_init__(self) -> None:
        check_fields(self)


class MlpProjector(nn.Module):
    """``[n, tokens, width_in]`` -> ``[n, tokens, width_out]``.

    Example:
        >>> config = MlpConfig(width_in=1024, width_out=4096)
        >>> sum(p.numel() for p in MlpProjector(config).parameters())
        20979712
    """

    kind = "mlp"
    reads_prompt = False

    def __init__(self, config: MlpConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        layers: list[nn.Module] = [nn.Linear(config.width_in, config.width_out)]
        for _ in range(config.depth - 1):
            layers += [nn.GELU(), nn.Linear(config.width_out, config.width_out)]
        self.layers = nn.Sequential(*layers)

    def tokens(self, features: int) -> int:
        """The number of LLM positions: one for each feature."""
        return features

    def forward(self, features: Tensor) -> Tensor:
        """``[n, tokens, width_in]`` -> ``[n, tokens, width_out]``."""
        projected: Tensor = self.layers(features)
        return projected
