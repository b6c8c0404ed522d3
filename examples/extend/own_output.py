"""An output projector: the mean of the signal tokens' states, projected by one linear layer.

    inlay train nextgpt --import own_output.py --output_projector mean --output_options '{}'

It turns the states of the LLM at signal tokens into the conditioning of a generator, and trains in any system that
generates media.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from inlay.adapters import register_output
from inlay.adapters.outputs import OutputSizes


@dataclass(frozen=True, kw_only=True)
class MeanOutputConfig(OutputSizes):
    """The sizes ``width_in``, ``signals``, ``tokens`` and ``width_out``, which the backbone decides."""


class MeanOutput(nn.Module):
    """``[n, signals, width_in]`` -> ``[n, tokens, width_out]``."""

    kind = "mean"

    def __init__(self, config: MeanOutputConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Linear(config.width_in, config.tokens * config.width_out)

    def forward(self, states: Tensor) -> Tensor:
        """Average, then project."""
        projected: Tensor = self.layer(states.mean(dim=1))
        return projected.view(-1, self.config.tokens, self.config.width_out)


register_output(MeanOutput, MeanOutputConfig)
