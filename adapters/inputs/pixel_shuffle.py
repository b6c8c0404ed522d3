"""Pixel shuffle (space to depth): each square of features becomes one, ``factor * factor`` times as wide, then linears.

One rule serves the published models, although their code differs: inside a merged feature the square stands in reading
order, each position with all its channels (``[row, column, channel]``). ``torch.nn.PixelUnshuffle`` has the channel
first and is another rule.

* SmolVLM (Marafioti et al., 2025, https://arxiv.org/abs/2504.05299), Idefics3 and nanoVLM: ``depth=1, bias=False``.
* InternVL 2 to 3.5 (Chen et al., 2024, https://arxiv.org/abs/2404.16821): ``norm=True, depth=2``, a LayerNorm first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from torch import Tensor, nn

from inlay.adapters.inputs.grid import check_grid, squares_of
from inlay.adapters.parts.fields import Between, Depth, Epsilon, PortSize, check_fields, complete

__all__ = ["Factor", "PixelShuffleConfig", "PixelShuffleProjector", "Rows"]

Factor: TypeAlias = Annotated[int, Between(1, 32)]
"""Side of a square of features that becomes one position."""
Rows: TypeAlias = Annotated[int, Between(0, 4096)]
"""Rows of the grid of features; 0 for a square grid."""


@dataclass(frozen=True, kw_only=True)
class PixelShuffleConfig:
    """Side of the squares and sizes of the layers."""

    width_in: PortSize = 0
    """Values per feature."""
    width_out: PortSize = 0
    """Values per LLM embedding; also the hidden width."""
    factor: Factor = 2
    """Side of a square; ``factor * factor`` features become one position."""
    depth: Depth = 2
    """Linear layers, with GELU between them."""
    norm: bool = False
    """Whether a LayerNorm over the merged feature comes first."""
    bias: bool = True
    """Whether the linear layers have a bias."""
    rows: Rows = 0
    """Rows of the grid; 0 for a square grid."""
    class_token: bool = False
    """Whether the first feature is a class token, which is dropped."""
    norm_eps: Epsilon = 1e-5
    """Epsilon of the LayerNorm."""

    def __post_init__(self) -> None:
        check_fields(self)


class PixelShuffleProjector(nn.Module):
    """``[n, features, width_in]`` -> ``[n, features / factor ** 2, width_out]``.

    Example:
        >>> projector = PixelShuffleProjector(PixelShuffleConfig(width_in=8, width_out=6, factor=4))
        >>> projector.tokens(1024)
        64
    """

    kind = "pixel_shuffle"
    reads_prompt = False

    def __init__(self, config: PixelShuffleConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        width = config.width_in * config.factor**2
        layers: list[nn.Module] = [nn.LayerNorm(width, eps=config.norm_eps)] if config.norm else []
        layers.append(nn.Linear(width, config.width_out, bias=config.bias))
        for _ in range(config.depth - 1):
            layers += [nn.GELU(), nn.Linear(config.width_out, config.width_out, bias=config.bias)]
        self.layers = nn.Sequential(*layers)

    def tokens(self, features: int) -> int:
        """The number of LLM positions: one for each square.

        Raises:
            ProjectorError: the features form no grid that ``factor`` divides.
        """
        high, wide = check_grid(
            features, self.config.factor, rows=self.config.rows, class_token=self.config.class_token
        )
        return high * wide

    def forward(self, features: Tensor) -> Tensor:
        """``[n, features, width_in]`` -> ``[n, tokens, width_out]``."""
        squares = squares_of(features, self.config.factor, rows=self.config.rows, class_token=self.config.class_token)
        projected: Tensor = self.layers(squares.flatten(2))
        return projected
