"""Adapter layers of other libraries in a language model, such as peft's.

Two libraries that replace the same linears overwrite each other's changes, so attaching to an LLM with such layers is
an error. No library is imported for the check: layers are recognised by the module of their class, by the usual names
of LoRA matrices, and by the configuration that peft sets on the model.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

__all__ = ["foreign_adapters"]

_LIBRARIES = ("peft", "adapters", "loralib")
_MATRICES = ("lora_A", "lora_B")
_ADVICE = (
    "merge it into the weights first (peft: model = model.merge_and_unload()), remove it (peft: model.unload()), or "
    "load the LLM again"
)


def foreign_adapters(model: nn.Module) -> str | None:
    """A description of another library's adapter in a model, with advice; None if there is none.

    Forward hooks are allowed: a linear with LoRA still calls the module that has them.

    Args:
        model: the language model, or any module around it.
    """
    places = [(name or type(model).__name__, what) for name, what in [*_layers(model), *_configurations(model)]]
    if not places:
        return None
    name, what = places[0]
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"this language model already has an adapter of another library: {what} at {name}{more}; {_ADVICE}"


def _layers(model: nn.Module) -> Iterator[tuple[str, str]]:
    for name, module in model.named_modules():
        library = next((lib for kind in type(module).__mro__ if (lib := _library(kind)) in _LIBRARIES), None)
        if library is not None:
            yield name, f"{library}'s {type(module).__name__}"
        elif any(matrix in space for matrix in _MATRICES for space in (module._modules, module._parameters)):
            yield name, f"the LoRA layer {type(module).__name__}"


def _configurations(model: nn.Module) -> Iterator[tuple[str, str]]:
    for name, module in model.named_modules():
        if module.__dict__.get("peft_config"):
            yield name, "peft's configuration (peft_config)"


def _library(kind: type) -> str:
    return kind.__module__.partition(".")[0]
