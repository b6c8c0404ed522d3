"""The linears of an LLM that get LoRA: from the names of a configuration to modules.

A linear is an ``nn.Linear`` (bitsandbytes' linears are of this class), transformers' ``Conv1D`` (GPT-2), or any other
module with ``in_features`` and ``out_features``, as in quantisation libraries. A model's own subclass of ``nn.Linear``
counts only if it computes a linear's output: Llama 4's router returns two tensors.

``"all-linear"`` leaves out modules that LoRA should not or cannot change: the LM head, embeddings, linears outside the
layers, the routers of mixture-of-experts models (their load was balanced in pretraining), the token indexers of sparse
attention (top-k gives them no gradient), and experts that are stored as stacked parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from inlay.adapters.llm_parts.lora_config import ALL_LINEAR, LoraConfig, LoraError
from inlay.adapters.llm_parts.lora_linear import LoraLinear

__all__ = ["check_shapes", "has_targets", "left_out", "linear_sizes", "resolve", "resolve_targets"]

_BYPASSED = ("dt_proj",)
"""Linears whose weight the model uses directly (Mamba's and Jamba's mixers), so that a wrapper is never called."""
_ROUTER = re.compile(r"router|indexer|topk|^gate$|^gating$|^wg$|^shared_expert_gate$")
"""Names of routers, gates of shared experts and token indexers."""
_ROUTER_CLASS = re.compile(r"Router|Indexer|TopK|Gating$|Gate$")
"""Names of their classes."""


def linear_sizes(module: nn.Module) -> tuple[int, int] | None:
    """``(in, out)`` of a linear; None for any other module.

    Example:
        >>> linear_sizes(nn.Linear(2, 3)), linear_sizes(Conv1D(3, 2)), linear_sizes(nn.LayerNorm(2))
        ((2, 3), (2, 3), None)
    """
    if isinstance(module, Conv1D):
        return int(module.nx), int(module.nf)
    given: Any = module
    sizes = getattr(given, "in_features", None), getattr(given, "out_features", None)
    return sizes if all(type(size) is int for size in sizes) else None  # type: ignore[return-value]


def resolve_targets(model: nn.Module, config: LoraConfig) -> dict[str, nn.Module]:
    """The target linears by their full names, in the order of the model.

    While another LoRA is attached, these are the linears inside its wrappers.

    Raises:
        LoraError: a target matches no linear (the text lists the names), or there is no linear at all.
    """
    linears = dict(_linears(model, _head(model)))
    if config.targets == ALL_LINEAR:
        routers = set(_routers(model, linears))
        found = {
            name: module
            for name, module in linears.items()
            if _in_a_layer(name) and _last(name) not in _BYPASSED and name not in routers
        }
        if not found:
            raise LoraError(
                f"targets: {type(model).__name__} has no linears in its layers; name modules with --lora.targets, or "
                "train without LoRA (--lora null)"
            )
        return found
    found = {name: linear for name, linear in linears.items() if any(_names(t, name) for t in config.explicit)}
    missing = [target for target in config.explicit if not any(_names(target, name) for name in found)]
    known = ", ".join(sorted({_last(name) for name in linears} - set(_BYPASSED)))
    if missing:
        raise LoraError(
            f"targets: no linear of this LLM is named {', '.join(missing)}; it has {known or 'none'} (the LM head is "
            f"never a target): give --lora.targets {ALL_LINEAR} (targets={ALL_LINEAR!r} in Python), or some of these "
            "names"
        )
    if bypassed := sorted({_last(name) for name in found} & set(_BYPASSED)):
        raise LoraError(
            f"targets: this LLM uses the weight of {bypassed[0]} directly and never calls the module: LoRA on it has "
            f"no effect; choose among {known}"
        )
    return found


def resolve(model: nn.Module, config: LoraConfig) -> tuple[LoraConfig, dict[str, nn.Module]]:
    """A configuration with explicit targets, and the linears that they name.

    The result has the shortest names that match exactly these linears and no other module of the model: ``q_proj``,
    otherwise ``self_attn.q_proj``, and so on up to the full path.
    """
    found = resolve_targets(model, config)
    if config.targets != ALL_LINEAR:
        return config, found
    modules = {name.replace(".base_layer", "") for name, _ in model.named_modules()}
    for length in range(1, 1 + max(name.count(".") for name in found) + 1):
        ends = {_end(name, length) for name in found}
        if {name for name in modules if _end(name, length) in ends} == set(found):
            return config.with_targets(tuple(ends)), found
    raise LoraError(f"targets: no short names match the linears of {type(model).__name__} alone; give names explicitly")


def has_targets(model: nn.Module, targets: Sequence[str]) -> bool:
    """Whether each of these names matches a linear of the LLM."""
    linears = [name for name, _ in _linears(model, _head(model))]
    return all(any(_names(target, name) for name in linears) for target in targets)


def left_out(model: nn.Module) -> tuple[str, ...]:
    """The modules inside the layers that ``"all-linear"`` leaves out, once for all layers: ``("mlp.router", ...)``.

    Example:
        >>> left_out(nn.ModuleList([nn.ModuleDict({"router": nn.Linear(2, 4), "up": nn.Linear(2, 2)})]))
        ('router',)
    """
    linears = dict(_linears(model, _head(model)))
    # Three dimensions alone are no criterion: convolutions have them too.
    stacked = {
        name.rpartition(".")[0]
        for name, parameter in model.named_parameters()
        if _in_a_layer(name) and parameter.dim() == 3 and "expert" in name.lower()
    }
    routers = [name for name, module in model.named_modules() if _is_router(name, module) and _in_a_layer(name)]
    outer = [name for name in routers if not any(name.startswith(f"{other}.") for other in routers)]
    bypassed = [name for name in linears if _last(name) in _BYPASSED]
    found = {_in_layer(name): None for name in [*outer, *bypassed]}
    return (*found, *sorted({f"{_in_layer(name)} (experts stored as stacked parameters)" for name in stacked}))


def _routers(model: nn.Module, linears: Mapping[str, nn.Module]) -> list[str]:
    """Linears that choose experts or tokens, by the names and classes of themselves and of the module around them."""
    around = {name: name.rpartition(".")[0] for name in linears}
    return [
        name
        for name, linear in linears.items()
        if _is_router(name, linear) or _is_router(around[name], model.get_submodule(around[name]))
    ]


def _is_router(name: str, module: nn.Module) -> bool:
    """Whether a module is a router, the gate of a shared expert, or a token indexer."""
    return bool(_ROUTER.search(_last(name)) or _ROUTER_CLASS.search(type(module).__name__))


def _in_layer(name: str) -> str:
    """``model.layers.0.mlp.router`` -> ``mlp.router``."""
    parts = name.split(".")
    last = max((place for place, part in enumerate(parts) if part.isdecimal()), default=-1)
    return ".".join(parts[last + 1 :])


def _linears(module: nn.Module, head: object, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Every linear by its own name, also inside another adapter's LoRA wrapper."""
    for name, child in module.named_children():
        inner = child.base_layer if isinstance(child, LoraLinear) else child
        if inner is head:
            continue
        if (sizes := linear_sizes(inner)) is not None:
            if _computes(inner, sizes):
                yield f"{prefix}{name}", inner
        else:
            yield from _linears(inner, head, f"{prefix}{name}.")


def _computes(module: nn.Module, sizes: tuple[int, int]) -> bool:
    """Whether a module maps ``[..., in]`` to ``[..., out]``; only a model's own subclasses of Linear are called."""
    if type(module) is nn.Linear or not type(module).__module__.startswith("transformers.models."):
        return True
    weight = module.get_parameter("weight")
    try:
        with torch.no_grad():
            output = module(weight.new_zeros(1, sizes[0]))
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return False
    return isinstance(output, Tensor) and output.shape == (1, sizes[1])


def _head(model: Any) -> object:
    find = getattr(model, "get_output_embeddings", None)
    return find() if callable(find) else None


def _in_a_layer(name: str) -> bool:
    """Whether a module is in a stack of layers, whose names are numbers."""
    return any(part.isdecimal() for part in name.split("."))


def _names(target: str, module: str) -> bool:
    """Whether a target is the name of a module or a suffix of its dotted path."""
    return module == target or module.endswith("." + target)


def _last(name: str) -> str:
    return _end(name, 1)


def _end(name: str, length: int) -> str:
    """The last components of a dotted path."""
    return ".".join(name.split(".")[-length:])


def check_shapes(found: Mapping[str, nn.Module], shapes: Mapping[str, tuple[int, int]]) -> None:
    """Check that an LLM's targets are those for which an adapter has matrices.

    Args:
        found: the result of :func:`resolve_targets`.
        shapes: ``(in, out)`` of the adapter's matrices.

    Raises:
        LoraError: one of the two lacks a target, or has another shape.
    """
    for target in [*found, *shapes]:
        if target not in shapes:
            raise LoraError(f"{target}: expected LoRA matrices for this target of the LLM, the adapter has none")
        if target not in found:
            raise LoraError(f"{target}: expected a linear of this name for the adapter's LoRA, this LLM has none")
        if (sizes := linear_sizes(found[target])) != shapes[target]:
            raise LoraError(f"{target}: expected a linear of {_arrow(shapes[target])}, found {_arrow(sizes)}")


def _arrow(sizes: tuple[int, int] | None) -> str:
    return "unknown size" if sizes is None else f"{sizes[0]} -> {sizes[1]}"
