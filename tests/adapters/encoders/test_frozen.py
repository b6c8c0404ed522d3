"""The base of encoders around one frozen model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.encoders.frozen import FrozenEncoder


class Half(FrozenEncoder):
    """Two linear layers, of which only the first computes the features."""

    family, tokens, width = "half", 4, 3

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleList([nn.Linear(2, 3), nn.Linear(3, 5)])
        self.source, self.revision = "me/half", "a" * 40
        self.settings = {"layer": 1}

    @property
    def trunk(self) -> nn.Module:
        found: nn.Module = self.model[0]
        return found


def test_the_port_has_the_digest_of_the_modules_that_compute_the_features() -> None:
    encoder = Half()
    port = encoder.port
    assert (port.family, port.width, port.tokens, port.source, port.revision) == ("half", 3, 4, "me/half", "a" * 40)
    assert port.settings == {"layer": 1}
    assert port.weights == weights_digest(encoder.model[0])


def test_device_and_dtype_are_those_of_the_model() -> None:
    encoder: Any = Half().to(torch.bfloat16)
    assert encoder.dtype == torch.bfloat16
    assert encoder.to("meta").device.type == "meta"
