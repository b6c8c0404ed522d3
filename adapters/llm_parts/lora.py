"""LoRA on the frozen language model (Hu et al., 2021, https://arxiv.org/abs/2106.09685).

``W x + (alpha / r) B A x`` on chosen linears; ``A`` starts uniform, ``B`` at zero. The matrices belong to the adapter.
On attach, wrappers (:mod:`inlay.adapters.llm_parts.lora_linear`) replace the LLM's linears and compute with these
matrices; on detach the same linear objects are put back. PEFT's folder is the format on disk; the library is not used.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from inlay.adapters.llm_parts.foreign_adapters import foreign_adapters
from inlay.adapters.llm_parts.lora_config import ALL_LINEAR, LoraConfig, LoraError
from inlay.adapters.llm_parts.lora_fused import Siblings, siblings_of
from inlay.adapters.llm_parts.lora_linear import LoraLinear, LoraState, parameter_name
from inlay.adapters.llm_parts.lora_rows import PerRow
from inlay.adapters.llm_parts.lora_targets import check_shapes, left_out, linear_sizes, resolve, resolve_targets
from inlay.adapters.parts.undo import Undo

__all__ = ["ALL_LINEAR", "LoraConfig", "LoraError", "LoraPart", "resolve_targets"]

_SWITCHES = threading.Lock()


class LoraPart(nn.Module):
    """The matrices ``A`` ``[r, in]`` and ``B`` ``[out, r]`` of every target.

    Dropout depends on this module's mode, while the frozen LLM stays in eval mode. A copy (``copy.deepcopy``,
    ``pickle``) of an attached part is independent and not attached.

    Args:
        config: rank, scale, explicit targets.
        shapes: ``(in, out)`` of every target, by its full name inside the LLM.
        device: where to create the matrices; ``meta`` allocates no memory and gives exact counts.
    """

    kind = "lora"

    def __init__(
        self, config: LoraConfig, shapes: Mapping[str, tuple[int, int]], *, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__()
        self.config = config
        self.shapes = dict(shapes)
        self.about = ""
        """Description of the linears with LoRA in the LLM, and of those left out; empty for a stored part."""
        self.kept_ranks = 0
        """Number of leading ranks that are not trained; weight decay does not apply to them either."""
        self._state: LoraState | None = None
        self._plain = self._skipped = 0
        for name, (width_in, width_out) in shapes.items():
            down = nn.Parameter(torch.empty(config.r, width_in, device=device))
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))
            self.register_parameter(parameter_name(name, "A"), down)
            up = nn.Parameter(torch.zeros(width_out, config.r, device=device))
            self.register_parameter(parameter_name(name, "B"), up)

    @classmethod
    def for_model(
        cls, model: PreTrainedModel, config: LoraConfig, *, device: torch.device | str | None = None
    ) -> LoraPart:
        """Create matrices for every resolved target of a language model.

        Args:
            model: the language model of transformers.
            config: rank, scale, targets.
            device: where to create the matrices; if not given, the CPU, or ``meta`` for a model on the meta device.

        Raises:
            LoraError: a target matches no linear.
        """
        explicit, found = resolve(model, config)
        shapes = {name: sizes for name, module in found.items() if (sizes := linear_sizes(module))}
        part = cls(explicit, shapes, device=device or ("meta" if model.device.type == "meta" else "cpu"))
        others = left_out(model) if config.targets == ALL_LINEAR else ()
        part.about = f"LoRA on {len(shapes)} linears: {', '.join(explicit.explicit)}" + (
            f"; left out: {', '.join(others)}" if others else ""
        )
        return part

    @classmethod
    def of_matrices(cls, config: LoraConfig, downs: Mapping[str, Tensor], ups: Mapping[str, Tensor]) -> LoraPart:
        """A part with given matrices in float32, in one block of memory; no random numbers are drawn.

        Args:
            config: rank, scale, targets.
            downs: target -> ``A``.
            ups: target -> ``B``.
        """
        lora = cls(config, {})
        lora.shapes = {target: (down.shape[1], ups[target].shape[0]) for target, down in downs.items()}
        given = [matrix for target in downs for matrix in (downs[target], ups[target])]
        flat = torch.empty(sum(matrix.numel() for matrix in given))
        parts = torch.split(flat, [matrix.numel() for matrix in given])
        pieces = [part.view(matrix.shape) for part, matrix in zip(parts, given, strict=True)]
        torch._foreach_copy_(pieces, given)
        names = [parameter_name(target, matrix) for target in downs for matrix in "AB"]
        for name, piece in zip(names, pieces, strict=True):
            lora.register_parameter(name, nn.Parameter(piece))
        return lora

    @property
    def targets(self) -> tuple[str, ...]:
        """Full names of the linears, in the order of the matrices."""
        return tuple(self.shapes)

    def matrices(self, target: str) -> tuple[nn.Parameter, nn.Parameter]:
        """``A`` and ``B`` of one target."""
        down, up = (self.get_parameter(parameter_name(target, matrix)) for matrix in "AB")
        return down, up

    def peft_tensors(self) -> dict[str, Tensor]:
        """The matrices by their names in PEFT's file."""
        names = {}
        for target in self.targets:
            down, up = self.matrices(target)
            names[f"base_model.model.{target}.lora_A.weight"] = down.detach()
            names[f"base_model.model.{target}.lora_B.weight"] = up.detach()
        return names

    def attach(self, model: PreTrainedModel, undo: Undo | None = None) -> Undo:
        """Replace the targets by wrappers with these matrices.

        If this raises, nothing has changed.

        Args:
            model: the language model of transformers.
            undo: receives the undo step of each replacement.

        Returns:
            The stack whose ``close()`` puts the same linear objects back; further calls do nothing.

        Raises:
            LoraError: the part is attached already, the LLM has other adapter layers, a target is missing or has
                another shape.
        """
        if self._state is not None:
            raise LoraError("this LoRA is already attached to a language model; detach it first")
        if foreign := foreign_adapters(model):
            raise LoraError(foreign)
        if any(isinstance(module, LoraLinear) for module in model.modules()):
            raise LoraError("another adapter's LoRA is attached to this LLM; detach it first")
        found = resolve_targets(model, self.config)
        check_shapes(found, self.shapes)
        groups: dict[tuple[str, int], Siblings] = {}
        state, undo = LoraState(self), undo or Undo()
        try:
            undo.callback(_release, state)
            self._state = state
            for target, base in found.items():
                key = siblings_of(target)
                group = Siblings() if key is None else groups.setdefault(key, Siblings())
                _replace(model, target, LoraLinear(base, target, state, group), undo)
        except BaseException:
            undo.close()
            raise
        return undo

    def is_like(self, other: LoraPart) -> bool:
        """Whether another part can replace this one in the wrappers; rank, scale and dropout may differ."""
        return self.shapes == other.shapes

    def hand_over(self, other: LoraPart) -> None:
        """Make the wrappers in the LLM use another part's matrices; no module is created and no tensor copied.

        Args:
            other: a part with the same targets and shapes that is not attached.

        Raises:
            LoraError: this part is not attached, or the other one is attached or has other shapes.
        """
        state = self._state
        if state is None or other._state is not None or not self.is_like(other):
            raise LoraError("expected an attached LoRA and one of the same targets and shapes that is not attached")
        other._state, self._state = state, None
        state.part = other

    @property
    def attached(self) -> bool:
        """Whether wrappers in an LLM use these matrices."""
        return self._state is not None

    @property
    def rows(self) -> PerRow:
        """The object on which matrices for single rows are set.

        Raises:
            LoraError: the part is not attached.
        """
        if self._state is None:
            raise LoraError("one LoRA for each row: this LoRA is not attached to a language model")
        return self._state.rows

    @property
    def plain_only(self) -> bool:
        """Whether the fused path is switched off."""
        return self._plain > 0

    @property
    def skipped(self) -> bool:
        """Whether the update is left out of the forward pass."""
        return self._skipped > 0

    @contextmanager
    def plain(self) -> Iterator[None]:
        """A context in which the wrappers use torch's own autograd: slower, with the same results."""
        with self._counted("_plain"):
            yield

    @contextmanager
    def sparing(self) -> Iterator[None]:
        """A context that skips the update while the matrices are frozen and the update is zero; results are equal.

        So LoRA costs no time in a stage before the one that trains it.
        """
        used = any(p.requires_grad or (name.endswith("/B") and p.any()) for name, p in self.named_parameters())
        with nullcontext() if used else self._counted("_skipped"):
            yield

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        """Count the callers, over all threads, that have switched a flag on."""
        with _SWITCHES:
            setattr(self, name, getattr(self, name) + 1)
        try:
            yield
        finally:
            with _SWITCHES:
                setattr(self, name, getattr(self, name) - 1)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_state": None, "_plain": 0, "_skipped": 0}


def _replace(model: nn.Module, target: str, wrapper: LoraLinear, undo: Undo) -> None:
    parent, _, name = target.rpartition(".")
    owner = model.get_submodule(parent)
    undo.callback(setattr, owner, name, wrapper.base_layer)
    setattr(owner, name, wrapper)


def _release(state: LoraState) -> None:
    """Remove the references between part and wrappers; a wrapper that is still in use then computes the bare linear."""
    part, state.part = state.part, None
    if isinstance(part, LoraPart):
        part._state = None
