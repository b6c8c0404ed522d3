"""LoRA on the frozen language model, through peft (Hu et al., 2021, https://arxiv.org/abs/2106.09685).

``W x + (alpha / r) B A x`` on chosen linears; ``A`` starts uniform, ``B`` at zero. The matrices belong to the adapter;
peft's layers are put around the LLM's linears on attach and taken away on detach, and only ever *hold* our parameters;
:mod:`inlay.adapters.llm_parts.lora_fused` makes them faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from inlay.adapters.llm_parts.lora_fused import fuse, unfuse
from inlay.hub.errors import InlayError

__all__ = ["LoraConfig", "LoraError", "LoraPart", "resolve_targets"]

NAME = "inlay"
"""Name of our adapter inside peft's layers."""


class LoraError(InlayError):
    """LoRA does not fit this language model."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """What LoRA changes, and how strongly."""

    r: int = 16
    """Rank, 1 to 1024."""
    alpha: float = 32.0
    """Scale; the update is multiplied by ``alpha / r``."""
    dropout: float = 0.0
    """Dropout on the input of ``A`` in training."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Last names of the linears, searched inside the LLM only; the LM head is never one of them."""

    def __post_init__(self) -> None:
        if not 1 <= self.r <= 1024:
            raise LoraError(f"r: expected 1 to 1024, got {self.r}")
        if not self.targets:
            raise LoraError("targets: expected at least one module name, got none")
        # In one order, so that two bundles of the same LoRA say the same.
        object.__setattr__(self, "targets", tuple(sorted(set(self.targets))))


def resolve_targets(model: nn.Module, config: LoraConfig) -> dict[str, nn.Linear]:
    """The modules that LoRA would change, by their full names, in the order of the model.

    Raises:
        LoraError: a target that names no linear, with the names that exist.
    """
    linears = dict(_linears(model))
    found = {
        name: module
        for name, module in linears.items()
        if name.rpartition(".")[2] in config.targets and name != "lm_head"
    }
    missing = [target for target in config.targets if not any(name.rpartition(".")[2] == target for name in found)]
    if missing:
        known = sorted({name.rpartition(".")[2] for name in linears} - {"lm_head"})
        raise LoraError(f"targets: no linear of this LLM is named {', '.join(missing)}; it has {', '.join(known)}")
    return found


def _linears(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Linear]]:
    """Every linear by its own name, also while another adapter's LoRA stands in front of it."""
    for name, child in model.named_children():
        module = child.get_base_layer() if isinstance(child, LoraLayer) else child
        if isinstance(module, nn.Linear):
            yield f"{prefix}{name}", module
        else:
            yield from _linears(module, f"{prefix}{name}.")


class LoraPart(nn.Module):
    """The matrices ``A`` ``[r, in]`` and ``B`` ``[out, r]`` of every target.

    Args:
        config: rank, scale, targets.
        shapes: ``(in, out)`` of every target, by its full name inside the LLM.
        device: where to create them; ``meta`` costs nothing and counts exactly.
    """

    kind = "lora"

    def __init__(
        self, config: LoraConfig, shapes: Mapping[str, tuple[int, int]], *, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__()
        self.config = config
        self.targets = tuple(shapes)
        self.shapes = dict(shapes)
        self._layers: list[LoraLayer] = []
        self._slots: list[dict[str, nn.Parameter | None]] = []
        for name, (width_in, width_out) in shapes.items():
            down = nn.Parameter(torch.empty(config.r, width_in, device=device))
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))
            self.register_parameter(_slot(name, "A"), down)
            self.register_parameter(_slot(name, "B"), nn.Parameter(torch.zeros(width_out, config.r, device=device)))

    @classmethod
    def for_model(cls, model: PreTrainedModel, config: LoraConfig) -> LoraPart:
        """Matrices for every resolved target of a language model."""
        found = resolve_targets(model, config)
        shapes = {name: (module.in_features, module.out_features) for name, module in found.items()}
        return cls(config, shapes, device="meta" if model.device.type == "meta" else "cpu")

    @classmethod
    def of_matrices(cls, config: LoraConfig, downs: Mapping[str, Tensor], ups: Mapping[str, Tensor]) -> LoraPart:
        """Given matrices in float32: nothing is drawn, and all of them lie in one piece of memory.

        Args:
            config: rank, scale, targets.
            downs: target -> ``A``.
            ups: target -> ``B``.
        """
        lora = cls(config, {})
        lora.targets = tuple(downs)
        lora.shapes = {target: (down.shape[1], ups[target].shape[0]) for target, down in downs.items()}
        given = [matrix for target in downs for matrix in (downs[target], ups[target])]
        flat = torch.empty(sum(matrix.numel() for matrix in given))
        parts = torch.split(flat, [matrix.numel() for matrix in given])
        pieces = [part.view(matrix.shape) for part, matrix in zip(parts, given, strict=True)]
        torch._foreach_copy_(pieces, given)
        names = [_slot(target, matrix) for target in downs for matrix in "AB"]
        for name, piece in zip(names, pieces, strict=True):
            lora.register_parameter(name, nn.Parameter(piece))
        return lora

    def matrices(self, target: str) -> tuple[nn.Parameter, nn.Parameter]:
        """``A`` and ``B`` of one target."""
        down, up = self.get_parameter(_slot(target, "A")), self.get_parameter(_slot(target, "B"))
        return down, up

    def peft_tensors(self) -> dict[str, Tensor]:
        """The matrices under the names that peft gives them on disk."""
        names = {}
        for target in self.targets:
            down, up = self.matrices(target)
            names[f"base_model.model.{target}.lora_A.weight"] = down.detach()
            names[f"base_model.model.{target}.lora_B.weight"] = up.detach()
        return names

    def attach(self, model: PreTrainedModel) -> Attachment:
        """Put peft's layers around the targets, holding our parameters.

        Raises:
            LoraError: a target that is missing or has another shape.
        """
        for target, module in resolve_targets(model, self.config).items():
            if target not in self.targets:
                raise LoraError(f"{target}: this LLM has a target that the adapter has no matrices for")
            shape = (self.matrices(target)[0].shape[1], self.matrices(target)[1].shape[0])
            if shape != (module.in_features, module.out_features):
                raise LoraError(
                    f"{target}: expected a linear of {shape[0]} -> {shape[1]}, found "
                    f"{module.in_features} -> {module.out_features}"
                )
        try:
            originals = {target: model.get_submodule(target) for target in self.targets}
        except AttributeError as error:
            raise LoraError(f"this LLM lacks a module that the adapter changes: {error}") from error
        config = PeftLoraConfig(
            r=self.config.r,
            lora_alpha=self.config.alpha,  # type: ignore[arg-type]  # peft computes with it as a float
            lora_dropout=self.config.dropout,
            target_modules=list(self.targets),
            bias="none",
        )
        attachment = Attachment(model, originals)
        inject_adapter_in_model(config, model, NAME)
        self._layers, self._slots = [], []
        for target in self.targets:
            layer = model.get_submodule(target)
            if not isinstance(layer, LoraLayer):
                attachment.undo()
                raise LoraError(
                    f"{target}: peft {type(layer).__name__} is not a LoRA layer; this kind of linear is not supported"
                )
            down, up = self.matrices(target)
            layer.lora_A[NAME].weight, layer.lora_B[NAME].weight = down, up
            self._layers.append(layer)
            self._slots += [layer.lora_A[NAME]._parameters, layer.lora_B[NAME]._parameters]
        fuse(self.layers, NAME)
        self.train(self.training)
        return attachment

    def is_like(self, other: LoraPart) -> bool:
        """Whether the other's matrices have a place in the layers of this one."""
        return (self.config, self.shapes) == (other.config, other.shapes)

    def hand_over(self, other: LoraPart) -> None:
        """Let the layers around the LLM hold the other's matrices instead: no module is made, no number is copied.

        Args:
            other: like this one, and not attached.
        """
        if self.targets == other.targets:
            other._layers, other._slots = self._layers, self._slots
        else:  # one was made for the model, the other read from a file, whose names are sorted
            places = [self.targets.index(target) for target in other.targets]
            other._layers = [self._layers[place] for place in places]
            other._slots = [slot for place in places for slot in self._slots[2 * place : 2 * place + 2]]
        self._layers, self._slots = [], []
        # Straight into the modules' tables: the checks of setattr would take longer than all the rest.
        for slot, matrix in zip(other._slots, other._parameters.values(), strict=True):
            slot["weight"] = matrix
        if other.config.dropout and self.training != other.training:
            other.train(other.training)

    def train(self, mode: bool = True) -> LoraPart:
        """LoRA's dropout follows the adapter, while the frozen LLM stays in eval mode."""
        super().train(mode)
        for layer in self._layers:
            layer.lora_dropout.train(mode)
        return self

    @contextmanager
    def sparing(self) -> Iterator[None]:
        """While the matrices are frozen and the update is zero, leave it out of the forward pass: the same numbers.

        A stage that comes before LoRA's own does not pay for what it does not use.
        """
        idle = not any(p.requires_grad or (name.endswith("/B") and p.any()) for name, p in self.named_parameters())
        if not idle:
            yield
            return
        try:
            for layer in self._layers:
                layer.enable_adapters(False)
            yield
        finally:
            for layer in self._layers:
                layer.enable_adapters(True)
            self.requires_grad_(False)  # peft thinks that whoever switches adapters on wants to train them

    @contextmanager
    def plain(self) -> Iterator[None]:
        """While this lasts, peft's own forward runs: slower, and the same numbers."""
        unfuse(self._layers)
        try:
            yield
        finally:
            fuse(self.layers, NAME)

    @property
    def layers(self) -> dict[str, LoraLayer]:
        """Target to peft's layer in front of it, while this is attached."""
        return dict(zip(self.targets, self._layers, strict=True))

    def merge_into(self, model: PreTrainedModel) -> None:
        """Add ``(alpha / r) B A`` to the weights of a *copy* of the language model; the backbone is never merged."""
        scale = self.config.alpha / self.config.r
        with torch.no_grad():
            for target in self.targets:
                weight = model.get_submodule(target).get_parameter("weight")
                if not weight.is_floating_point():
                    raise LoraError(f"{target}: LoRA cannot be merged into a quantised weight; load the LLM without")
                down, up = self.matrices(target)
                weight.add_((scale * up.float() @ down.float()).to(weight))


@dataclass(frozen=True)
class Attachment:
    """Remembers the linears that peft's layers stand in front of."""

    model: PreTrainedModel
    originals: Mapping[str, nn.Module]

    def undo(self) -> None:
        """Put the very same module objects back."""
        for target, module in self.originals.items():
            parent, _, name = target.rpartition(".")
            setattr(self.model.get_submodule(parent), name, module)
        if hasattr(self.model, "peft_config"):
            del self.model.peft_config


def _slot(target: str, matrix: str) -> str:
    """A parameter's name may hold no dot; a module's own name never holds a slash."""
    return f"{target}/{matrix}".replace(".", "/")
