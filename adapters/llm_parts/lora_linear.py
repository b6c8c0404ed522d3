"""One linear of a frozen LLM with LoRA: ``base(x) + scale * B(A(dropout(x)))``.

LoRA: Hu et al., 2021, https://arxiv.org/abs/2106.09685. The wrapper replaces the linear while an adapter
is attached. It calls the linear as a module, so hooks on it (accelerate's offloading, for example) run, and its weights
may be of any kind: ``nn.Linear``, bitsandbytes' 8-bit and 4-bit linears, transformers' ``Conv1D``.

The wrapper has no parameters. ``A`` and ``B`` belong only to the :class:`~inlay.adapters.llm_parts.lora.LoraPart`, and
all wrappers of one attachment access them through one :class:`LoraState`. So the LLM's ``state_dict`` and
``named_parameters`` contain frozen tensors only (as ``<linear>.base_layer.<name>`` while attached), FSDP shards the LLM
without the adapter, and a swap to an adapter of the same shapes is one assignment.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.adapters.llm_parts.lora_fused import Siblings, can_fuse
from inlay.adapters.llm_parts.lora_rows import PerRow

__all__ = ["LoraLinear", "LoraState", "Matrices", "parameter_name"]


def parameter_name(target: str, matrix: str) -> str:
    """Parameter name of ``A`` or ``B`` of one target, with slashes, since a parameter's name must not contain dots."""
    return f"{target}/{matrix}".replace(".", "/")


class Matrices(Protocol):
    """The settings and matrices that a wrapper reads from a :class:`~inlay.adapters.llm_parts.lora.LoraPart`."""

    config: LoraConfig
    training: bool
    _parameters: dict[str, nn.Parameter | None]

    @property
    def plain_only(self) -> bool:
        """Whether the fused path is switched off."""
        ...

    @property
    def skipped(self) -> bool:
        """Whether the update is left out."""
        ...


class LoraState:
    """The state that all wrappers of one attachment share.

    Args:
        part: the part with the matrices.
    """

    def __init__(self, part: Matrices | None) -> None:
        self.part = part
        self.rows = PerRow()

    def __getstate__(self) -> dict[str, Any]:
        # Per-thread state is not copied with the LLM.
        return {"part": self.part}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.part = state["part"]
        self.rows = PerRow()


class LoraLinear(nn.Module):
    """A linear with LoRA.

    Args:
        base: the frozen linear, ``[..., in]`` -> ``[..., out]``.
        target: its full name inside the LLM.
        state: shared by all wrappers of one attachment.
        siblings: linears that may have the same input; this one is added to them.
    """

    base_layer: nn.Module

    def __init__(self, base: nn.Module, target: str, state: LoraState, siblings: Siblings) -> None:
        super().__init__()
        self.base_layer = base
        self.target, self.state, self.siblings = target, state, siblings
        self.names = parameter_name(target, "A"), parameter_name(target, "B")
        self.train(base.training)
        siblings.join(self)

    def __getattr__(self, name: str) -> Any:
        """Attributes of the linear (``weight``, ``bias``, ``in_features``, ...), which some models access."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_layer" or name.startswith("__"):  # while a copy is being made, or special methods
                raise
            return getattr(self.base_layer, name)

    @property
    def follows(self) -> Matrices | None:
        """The part, whose training mode determines dropout."""
        return self.state.part

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``[..., in]`` -> ``[..., out]``."""
        part = self.state.part
        if self.state.rows.active and (rows := self.state.rows.of(self.target)) is not None:
            return rows.add(x, self.base_layer(x, *args, **kwargs))
        if part is None or part.skipped:
            output: Tensor = self.base_layer(x, *args, **kwargs)
            return output
        # torch.compile can trace only the plain path, and fuses it.
        simple = not (args or kwargs or part.plain_only or torch.compiler.is_compiling())
        if simple and can_fuse(self, part, x):
            return self.siblings.output(self, part, x)
        return self.plain(part, x, self.base_layer(x, *args, **kwargs))

    def plain(self, part: Matrices, x: Tensor, output: Tensor) -> Tensor:
        """The linear's output ``[..., out]`` plus the update, by torch's own autograd."""
        down, up = self.matrices(part)
        inner = x.to(down)
        if part.training and part.config.dropout:
            inner = F.dropout(inner, part.config.dropout)
        change = F.linear(F.linear(inner, down), up) * part.config.scale
        return (output + change.to(output.device)).to(output.dtype)

    def matrices(self, part: Matrices) -> tuple[Tensor, Tensor]:
        """``A`` ``[r, in]`` and ``B`` ``[out, r]``."""
        down, up = (part._parameters[name] for name in self.names)
        if down is None or up is None:
            raise RuntimeError(f"{self.target}: the attached LoRA has no matrices for this linear")
        return down, up
