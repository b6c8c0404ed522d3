"""Build an adapter from a foreign checkpoint and its backbone; every tensor is used and every parameter is filled."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.convert.imported import Imported, Lora
from inlay.adapters.convert.source import ConvertError
from inlay.adapters.inputs.registry import projector_config
from inlay.adapters.llm_parts.lora import LoraError, LoraPart
from inlay.adapters.llm_parts.lora_targets import check_shapes, linear_sizes, resolve_targets
from inlay.adapters.outputs.registry import output_config

__all__ = ["assemble"]

_SHOWN = 5


def assemble(imported: Imported, backbone: Backbone, *, name: str) -> Adapter:
    """Build the adapter of a checkpoint, in float32.

    Args:
        imported: the content of the checkpoint.
        backbone: the frozen models of the checkpoint.
        name: a free name, shown to users.

    Raises:
        ConvertError: a tensor is missing, extra or has another shape.
        InlayError: the sizes of a part differ from those of the backbone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for parameters that the checkpoint does not have
        adapter = Adapter.for_backbone(
            backbone,
            system=imported.system,
            name=name,
            layout=imported.layout,
            inputs={modality: projector_config(*sizes) for modality, sizes in imported.inputs.items()},
            shared=imported.shared,
            outputs={modality: output_config(*sizes) for modality, sizes in imported.outputs.items()},
            tokens=imported.tokens,
        )
    _fill(adapter, imported.tensors, imported.fresh)
    if imported.lora is not None:
        adapter.lora = _lora(imported.lora, backbone)
    return adapter.eval()


@torch.no_grad()
def _fill(adapter: Adapter, tensors: Mapping[str, Tensor], fresh: tuple[str, ...]) -> None:
    """Copy the tensors into the parts, after all of them were checked."""
    slots = {
        f"{part.name}.{key}": slot
        for part in adapter.parts()
        for key, slot in part.module.state_dict(keep_vars=True).items()
    }
    wrong = [f"{name} is missing" for name in slots if name not in tensors and not name.startswith(fresh)]
    wrong += [f"{name} is unexpected" for name in tensors if name not in slots]
    wrong += [
        f"{name} has the shape {list(tensors[name].shape)} instead of {list(slot.shape)}"
        for name, slot in slots.items()
        if name in tensors and tensors[name].shape != slot.shape
    ]
    if wrong:
        raise ConvertError(f"{len(wrong)} tensors do not fit the declared parts: {'; '.join(sorted(wrong)[:_SHOWN])}")
    for name, tensor in tensors.items():
        slots[name].copy_(tensor)


def _lora(lora: Lora, backbone: Backbone) -> LoraPart:
    """The LoRA, with the shortest target names that match exactly these linears of the LLM."""
    modules = sorted(lora.downs)
    model = backbone.llm.model
    wanted = {name: (lora.downs[name].shape[1], lora.ups[name].shape[0]) for name in modules}
    known = {name for name, _ in model.named_modules()}
    if strange := [name for name in modules if name not in known]:
        raise ConvertError(
            f"{len(strange)} of {len(modules)} modules of this LoRA are not in the language model: "
            f"{', '.join(strange[:_SHOWN])}; inlay's LoRA is on the language model alone, so merge one on an "
            "encoder or on a projector first"
        )
    chosen = tuple(sorted({name.rpartition(".")[2] for name in modules}))
    for targets in (chosen, tuple(modules)):
        config = lora.config.with_targets(targets)
        try:
            found = resolve_targets(model, config)
        except LoraError:
            if targets is chosen:
                continue
            raise
        if set(found) == set(modules) or targets is not chosen:
            check_shapes(found, wanted)
            ordered = [name for name in found if linear_sizes(found[name])]
            return LoraPart.of_matrices(
                config, {name: lora.downs[name] for name in ordered}, {name: lora.ups[name] for name in ordered}
            )
    raise ConvertError("the LoRA has no matrices")
