"""Merged patches and one linear layer, as in MiniGPT-4 with LLaMA-2 (Zhu et al., 2023, https://arxiv.org/abs/2304.10592).

``y_j = W [z_{4j}; z_{4j+1}; z_{4j+2}; z_{4j+3}] + b`` with ``z = LN(x)`` without the class token: four neighbours in
reading order become one position of the LLM, so EVA's 257 features become 64. The original normalises with a frozen
LayerNorm that is neither trained nor loaded, so here it has no parameters. The four patches are neighbours in a row;
``pixel_shuffle`` merges squares.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from inlay.adapters.inputs.protocol import ProjectorError
from inlay.adapters.parts.fields import Epsilon, PortSize, Queries, check_fields, complete

__all__ = ["PatchMergeConfig", "PatchMergeProjector"]


@dataclass(frozen=True, kw_only=True)
class PatchMergeConfig:
    """Sizes of the layer."""

    width_in: PortSize = 0
    """Values per feature."""
    width_out: PortSize = 0
    """Values per LLM embedding."""
    merge: Queries = 4
    """Neighbouring patches in one position."""
    class_token: bool = True
    """Whether the first feature is a class token, which is dropped."""
    norm_eps: Epsilon = 1e-5
    """Epsilon of the LayerNorm."""

    def __post_init__(self) -> None:
        check_fields(self)


class PatchMergeProjector(nn.Module):
    """``[n, features, width_in]`` -> ``[n, patches / merge, width_out]``.

    Example:
        >>> projector = PatchMergeProjector(PatchMergeConfig(width_in=8, width_out=6))
        >>> projector.tokens(257)
        64
    """

    kind = "patch_merge"
    reads_prompt = False

    def __init__(self, config: PatchMergeConfig) -> None:
        super().__init__()
        self.config = config = complete(config)
        self.norm = nn.LayerNorm(config.width_in, eps=config.norm_eps, elementwise_affine=False)
        self.layer = nn.Linear(config.width_in * config.merge, config.width_out)

    def tokens(self, features: int) -> int:
        """The number of LLM positions for a number of features.

        Raises:
            ProjectorError: the number of patches is not a multiple of ``merge``.
        """
        patches = features - self.config.class_token
        if patches % self.config.merge:
            raise ProjectorError(
                f"expected a multiple of merge = {self.config.merge} patches, got {patches}; choose another merge, or "
                "another class_token setting of the encoder"
            )
        return patches // self.config.merge

    def forward(self, features: Tensor) -> Tensor:
        """``[n, features, width_in]`` -> ``[n, tokens, width_out]``."""
        count = self.tokens(features.shape[1])
        patches = self.norm(features)[:, int(self.config.class_token) :]
        projected: Tensor = self.layer(patches.unflatten(1, (count, self.config.merge)).flatten(2))
        return projected
