"""The export targets by name. Imports nothing heavy, so that a wrong name is reported at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from inlay.adapters.export.options import GgufOptions, PeftOptions
from inlay.adapters.export.target import Exporter, ExportError, NoOptions, Target
from inlay.adapters.parts.registration import RegistrationError, check_function, register
from inlay.hub.safety.text import shown

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter

__all__ = ["TARGETS", "register_exporter", "target_named"]

TARGETS: dict[str, Target] = {
    "hf": Target(
        "inlay.adapters.export.hf.exporter:write",
        "one merged model for Transformers, vLLM, SGLang and MLX: Llava, LlavaNext, Blip2, InstructBlip",
        precheck="inlay.adapters.export.hf.expressible:adapter_kind",
    ),
    "peft": Target(
        "inlay.adapters.export.peft.exporter:write",
        "the LoRA alone, for the bare language model in PEFT and vLLM",
        PeftOptions,
        precheck="inlay.adapters.export.peft.exporter:check_lora",
    ),
    "gguf": Target(
        "inlay.adapters.export.gguf.exporter:write",
        "the LoRA, and on request the language model and the image encoder, for llama.cpp",
        GgufOptions,
        precheck="inlay.adapters.export.gguf.exporter:check_adapter",
    ),
}
"""Name -> target."""


def register_exporter(
    name: str,
    exporter: Exporter | str,
    about: str,
    options: type[Any] = NoOptions,
    precheck: Callable[[Adapter], object] | str | None = None,
) -> None:
    """Register a target, so that ``inlay export --to NAME`` writes it.

    Args:
        name: letters, digits, ``_`` and ``-``.
        exporter: the function, or its place as ``module:function``.
        about: the written files and the programs that read them, in one line.
        options: a frozen dataclass whose fields are the target's options; all of them have defaults.
        precheck: raises for an adapter that cannot be expressed; called before the frozen models are loaded.

    Raises:
        RegistrationError: a function of other arguments, options that are not a dataclass, or the name of another
            target.

    Example:
        >>> register_exporter("card", "my_package.export:write_card", "a page about the adapter")
        >>> TARGETS.pop("card").about
        'a page about the adapter'
    """
    if not is_dataclass(options):
        raise RegistrationError(f"exporter {name!r}: options: expected a dataclass, got {shown(options)}")
    if not isinstance(exporter, str):
        check_function(f"exporter {name!r}", exporter, "request", "folder")
    register(TARGETS, name, Target(exporter, about, options, precheck), "exporter", by="exporter")


def target_named(name: str, options: Mapping[str, Any] | None = None) -> tuple[Target, Any]:
    """A target and its checked options.

    Args:
        name: of the target.
        options: name -> value; those that are not given have their defaults.

    Raises:
        ExportError: no such target, or it has no such option.
    """
    if name not in TARGETS:
        known = "; ".join(f"{key} ({target.about})" for key, target in TARGETS.items())
        raise ExportError(f"to: expected one of {known}, got {shown(name)}")
    target, given = TARGETS[name], dict(options or {})
    if unknown := sorted(set(given) - set(target.types)):
        own = ", ".join(target.types) or "no options"
        raise ExportError(f"{unknown[0]}: the target {name!r} does not have this option; it has: {own}")
    return target, target.options(**given)
