"""Conversion between an adapter's parts in memory and a bundle on disk, in which every tensor is accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from inlay.adapters.bundles.storage_dtype import DiskDtype, float_of, on_disk
from inlay.adapters.compatibility.ports import LLM_PORT, generator_port
from inlay.adapters.conversation.layout import Layout, LayoutError
from inlay.adapters.core.parts import NEWLINE, AdapterParts, newline_problem
from inlay.adapters.inputs import build_projector
from inlay.adapters.llm_parts.lora import LoraConfig, LoraError, LoraPart
from inlay.adapters.llm_parts.token_rows import TokenRows, build_rows
from inlay.adapters.outputs import build_output
from inlay.adapters.outputs.fit import disagreement
from inlay.adapters.parts.newline import NewlineRow, build_newline
from inlay.hub.errors import BundleError
from inlay.hub.format.bundle import Bundle
from inlay.hub.format.files import bundle_folder
from inlay.hub.format.int8 import dequantised
from inlay.hub.format.manifest import (
    MANIFEST_NAME,
    CanarySpec,
    LayoutSpec,
    Manifest,
    PartSpec,
    manifest_error,
)
from inlay.hub.format.peft_folder import LoraFolder, LoraSpec
from inlay.hub.remote.address import locate
from inlay.hub.remote.pull import pull

__all__ = ["describe", "from_bundle", "open_bundle", "to_bundle"]

A = TypeVar("A", bound=AdapterParts)

TENSORS = "adapter.safetensors"
TOKENS, LORA = "tokens", "lora"
SHARED = "shared"
"""Kind of an input projector that is shared with another modality; its config names that modality."""


def open_bundle(source: str | Path, **options: Any) -> Bundle:
    """Read a bundle folder, the ``bundle/`` of a run folder, or a repository on a hub.

    Args:
        source: an address, as for :func:`inlay.hub.pull`.
        options: the options of :func:`inlay.hub.pull`; all except ``trusted`` apply to a hub only.
    """
    place = locate(source, options.get("revision"))
    # A folder is not pulled first: it is read once, so that the parsed bytes are the checked ones also while a writer
    # # replaces them.
    local = isinstance(place, Path) and options.get("trusted") is None
    return Bundle.read(bundle_folder(Path(source)) if local else pull(source, **options).folder)


def to_bundle(adapter: AdapterParts, dtype: DiskDtype, canary: CanarySpec | None = None) -> Bundle:
    """The bundle of an adapter, weights rounded to ``dtype``, with the canary that was recorded with them."""
    modules, _ = _modules(adapter)
    held = {part: on_disk(module, dtype) for part, module in modules.items() if part != LORA}
    tensors = {f"{part}.{name}": tensor for part, own in held.items() for name, tensor in own.items()}
    lora = None
    if adapter.lora is not None:
        kind = getattr(torch, float_of(dtype))
        matrices = {name: tensor.to("cpu", kind).contiguous() for name, tensor in adapter.lora.peft_tensors().items()}
        lora = LoraFolder(spec=_lora_spec(adapter, adapter.lora.config), tensors=matrices)
    return Bundle(manifest=describe(adapter, dtype, held, canary), tensors=tensors, lora=lora)


def describe(
    adapter: AdapterParts,
    dtype: DiskDtype = "bfloat16",
    held: Mapping[str, Mapping[str, Tensor]] | None = None,
    canary: CanarySpec | None = None,
) -> Manifest:
    """The manifest of an adapter.

    Args:
        adapter: the adapter.
        dtype: the dtype of the weights on disk.
        held: part -> its tensors as written; needed for int8 only.
        canary: the stored test input of these weights.

    Raises:
        BundleError: a field that a bundle cannot hold, by name, or an interface without a language model.
    """
    if LLM_PORT not in adapter.interface:
        ports = ", ".join(adapter.interface) or "none"
        raise BundleError(MANIFEST_NAME, f"expected a port {LLM_PORT!r}, got {ports}", field="interface")
    modules, shared = _modules(adapter)
    parts = {part: _part_spec(module, dtype, (held or {}).get(part, {})) for part, module in modules.items()}
    parts |= {part: _shared_spec(owner, dtype) for part, owner in shared.items()}
    if adapter.lora is not None:
        _lora_spec(adapter, adapter.lora.config)
    try:
        return Manifest(
            system=adapter.system,
            name=adapter.name,
            interface=dict(adapter.interface),
            layout=adapter.layout.spec,
            parts=parts,
            canary=canary,
            training=adapter.training_facts,
            license=adapter.license,
        )
    except ValidationError as error:
        raise manifest_error(error, MANIFEST_NAME) from None


def _modules(adapter: AdapterParts) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Name of a part -> module, and the further names of modules that several modalities share."""
    modules, shared = _once({f"inputs.{modality}": module for modality, module in adapter.inputs.items()})
    modules |= {f"outputs.{modality}": module for modality, module in adapter.outputs.items()}
    if adapter.newline is not None:
        modules[NEWLINE] = adapter.newline
    if adapter.tokens is not None:
        modules[TOKENS] = adapter.tokens
    if adapter.lora is not None:
        modules[LORA] = adapter.lora
    return modules, shared


def _lora_spec(adapter: AdapterParts, config: LoraConfig) -> LoraSpec:
    return LoraSpec(
        r=config.r,
        alpha=config.alpha,
        dropout=config.dropout,
        targets=config.explicit,
        base_model=adapter.interface[LLM_PORT].source,
    )


def _once(modules: Mapping[str, nn.Module]) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Each module under the first of its names, and the other names with that one."""
    first: dict[int, str] = {}
    owners = {part: first.setdefault(id(module), part) for part, module in modules.items()}
    kept = {part: module for part, module in modules.items() if owners[part] == part}
    return kept, {part: owner for part, owner in owners.items() if owner != part}


def _shared_spec(owner: str, dtype: DiskDtype) -> PartSpec:
    """The entry of a part that is an alias of another one and has no tensors of its own."""
    return PartSpec(kind=SHARED, config={"part": owner}, parameters=0, dtype=float_of(dtype))


def _part_spec(module: Any, dtype: DiskDtype, held: Mapping[str, Tensor]) -> PartSpec:
    """The manifest's entry of a part; its dtype is int8 if at least one of its matrices is."""
    whole = any(tensor.dtype == torch.int8 for tensor in held.values())
    return PartSpec(
        kind=module.kind,
        config=dict(vars(module.config)),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        dtype="int8" if whole else float_of(dtype),
        bytes=sum(tensor.nbytes for tensor in held.values()) if whole else None,
    )


def from_bundle(bundle: Bundle, kind: type[A]) -> A:
    """An adapter from a verified bundle, in float32; every tensor is used and every parameter is filled.

    Args:
        bundle: as it was read.
        kind: the class of the adapter.

    Raises:
        BundleError: a part is unknown, or a tensor is missing, extra, renamed or of another shape.
    """
    manifest, tensors = bundle.manifest, dequantised(bundle.tensors)
    inputs: dict[str, nn.Module] = {}
    outputs: dict[str, nn.Module] = {}
    tokens: TokenRows | None = None
    newline: NewlineRow | None = None
    expected: set[str] = set()
    for name, spec in manifest.parts.items():
        if name == LORA:
            continue
        floor, _, modality = name.partition(".")
        if floor == "inputs" and spec.kind == SHARED:
            continue
        module: nn.Module
        if name == NEWLINE:
            module = newline = build_newline(spec.kind, spec.config, parameters=spec.parameters)
        elif floor == "inputs" and modality in manifest.interface:
            module = inputs[modality] = build_projector(spec.kind, spec.config, parameters=spec.parameters)
        elif floor == "outputs" and generator_port(modality) in manifest.interface:
            module = outputs[modality] = build_output(spec.kind, spec.config, parameters=spec.parameters)
        elif name == TOKENS:
            module = tokens = build_rows(spec.kind, spec.config, parameters=spec.parameters)
        else:
            raise BundleError(
                MANIFEST_NAME, f"unknown part {name!r}; upgrade inlay, or correct the manifest", field="parts"
            )
        expected |= {f"{name}.{key}" for key in module.state_dict()}
        _fill(module, name, tensors)
    inputs |= _shared_inputs(manifest, inputs)
    read = {modality: module.config for modality, module in outputs.items()}
    if contradiction := disagreement(read, tokens.config.signals if tokens else {}, manifest.interface):
        raise BundleError(MANIFEST_NAME, contradiction, field="parts")
    if extra := sorted(set(tensors) - expected):
        raise BundleError(TENSORS, f"tensors that belong to no part: {', '.join(extra[:8])}", field=extra[0])
    if ("lora" in manifest.parts) != (bundle.lora is not None):
        raise BundleError(
            MANIFEST_NAME, "'parts' and the lora/ folder disagree on whether there is a LoRA", field="parts"
        )
    layout = _layout(manifest.layout)
    if problem := newline_problem(layout, inputs, newline):
        raise BundleError(MANIFEST_NAME, problem, field="parts")
    return kind(
        system=manifest.system,
        name=manifest.name,
        interface=manifest.interface,
        layout=layout,
        inputs=inputs,
        outputs=outputs,
        tokens=tokens,
        newline=newline,
        lora=_lora(bundle.lora, manifest.parts[LORA]) if bundle.lora is not None else None,
        training=manifest.training,
        canary=manifest.canary,
        license=manifest.license,
    )


def _shared_inputs(manifest: Manifest, inputs: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Modality -> the modality whose input projector it shares."""
    found = {}
    for name, spec in manifest.parts.items():
        floor, _, modality = name.partition(".")
        if floor != "inputs" or spec.kind != SHARED:
            continue
        owner = str(spec.config.get("part", "")).removeprefix("inputs.")
        if set(spec.config) != {"part"} or spec.parameters or owner not in inputs or modality not in manifest.interface:
            reason = f"{name}: expected the name of an input projector that this one is, got {dict(spec.config)}"
            raise BundleError(MANIFEST_NAME, reason, field="parts")
        found[modality] = inputs[owner]
    return found


def _fill(module: torch.nn.Module, part: str, held: Mapping[str, Tensor]) -> None:
    for key, slot in module.state_dict().items():
        name = f"{part}.{key}"
        if name not in held:
            present = ", ".join(sorted(n for n in held if n.startswith(part))) or "none"
            raise BundleError(TENSORS, f"this tensor is missing; the part has: {present}", field=name)
        if held[name].shape != slot.shape:
            shapes = f"expected shape {tuple(slot.shape)}, got {tuple(held[name].shape)}"
            raise BundleError(TENSORS, shapes, field=name)
        slot.copy_(held[name])


def _layout(spec: LayoutSpec) -> Layout:
    try:
        return Layout(
            template=spec.template,
            system=spec.system or "",
            geometry=dict(spec.geometry),  # type: ignore[arg-type]  # Layout checks the modalities
            stop=spec.stop,
            bos=spec.bos,
            prompt=spec.prompt,
            date=spec.date,
            arguments=dict(spec.arguments),
            tiling=spec.tiling,
        )
    except LayoutError as error:
        raise BundleError(MANIFEST_NAME, str(error), field="layout") from error


def _lora(folder: LoraFolder, part: PartSpec) -> LoraPart:
    spec = folder.spec
    own = {"r": spec.r, "alpha": spec.alpha, "dropout": spec.dropout, "targets": list(spec.targets)}
    said = {
        name: list(value) if name == "targets" and isinstance(value, (list, tuple)) else value
        for name, value in part.config.items()
    }
    if differing := [name for name, value in said.items() if name not in own or own[name] != value]:
        reason = f"{', '.join(differing)}: expected the values of lora/adapter_config.json; save the adapter again"
        raise BundleError(MANIFEST_NAME, reason, field="parts.lora.config")
    try:
        config = LoraConfig(r=spec.r, alpha=spec.alpha, dropout=spec.dropout, targets=tuple(spec.targets))
    except LoraError as error:
        raise BundleError("lora/adapter_config.json", str(error)) from error
    downs: dict[str, Tensor] = {}
    ups: dict[str, Tensor] = {}
    for name, tensor in folder.tensors.items():
        target, _, matrix = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
        (downs if matrix == "lora_A" else ups)[target] = tensor
    return LoraPart.of_matrices(config, downs, ups)
