"""Attach, swap and detach. The undo step of each change is registered before the change, and runs on any exception."""

from __future__ import annotations

import threading
import weakref
from contextlib import AbstractContextManager

from torch import nn

from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility import canary
from inlay.adapters.compatibility.verdict import Admission, IncompatibleBackbone, Report, check, require
from inlay.adapters.core.attachment import Attachment
from inlay.adapters.core.model_core import ModelCore
from inlay.adapters.core.parts import AdapterParts
from inlay.adapters.language.occupancy import AttachError, occupancy_of
from inlay.adapters.llm_parts.foreign_adapters import foreign_adapters
from inlay.adapters.llm_parts.lora import LoraError
from inlay.adapters.llm_parts.lora_linear import LoraLinear
from inlay.adapters.llm_parts.row_calls import HeadCall, RowEmbeddings
from inlay.adapters.llm_parts.signal_tokens import Signals
from inlay.adapters.llm_parts.token_rows import TokenRowsError

__all__ = ["admit", "admit_row", "attach", "changing", "detach", "replace", "swap"]


_TAKING = threading.Lock()


def changing(backbone: Backbone, action: str) -> AbstractContextManager[None]:
    """A context for attaching to and detaching from a backbone's language model; calls of other threads wait."""
    return occupancy_of(backbone.llm.model).change(action)


def attach(adapter: AdapterParts, backbone: Backbone, *, strict: bool = False, verify: bool = True) -> None:
    """Insert an adapter's parts into a backbone's language model.

    Args:
        adapter: an adapter that is not attached.
        backbone: the frozen models; their tensors are not changed.
        strict: refuse a backbone with other weights, or without a generator.
        verify: run the canary if the backbone has the weights that it was recorded with.

    Raises:
        AttachError: the adapter is attached, or the language model has adapter layers, of inlay or another library.
        IncompatibleBackbone: with a table of the differences.
        CanaryError: the attached model gives other logits than when the adapter was saved. Nothing stays attached.
    """
    occupancy = occupancy_of(backbone.llm.model)
    attachment = Attachment(backbone, adapter, adapter.name)
    try:
        with occupancy.change("attach"):
            itself = weakref.ref(attachment)
            attachment.undo.callback(_forget, itself)
            _take(adapter, attachment)
            attachment.undo.callback(occupancy.release, itself)
            occupancy.claim(attachment)
            if (problem := _adapter_layers(backbone.llm.model)) is not None:
                raise AttachError(problem)
            report = admit(adapter, backbone, strict=strict)
            try:
                _put_in(adapter, attachment)
            except (LoraError, TokenRowsError) as error:
                raise IncompatibleBackbone(report, adapter.name, str(error)) from error
            if verify:
                _verify(adapter, backbone, report)
    except BaseException:
        attachment.undo.close()
        raise


def _put_in(adapter: AdapterParts, attachment: Attachment) -> None:
    """Insert token rows, then LoRA; each registers its undo step."""
    llm, undo = attachment.backbone.llm, attachment.undo
    if adapter.tokens is not None:
        attachment.signals = Signals.of(adapter.tokens.config, adapter.tokens.attach(llm, undo).ids)
    if adapter.lora is not None:
        adapter.lora.attach(llm.model, undo)


def detach(adapter: AdapterParts) -> None:
    """Detach an adapter; every change is undone, even if one of the undo steps raises.

    Raises:
        AttachError: it is not attached.
    """
    attachment = adapter.attachment
    with changing(attachment.backbone, "detach"):
        if adapter._attachment is not attachment:
            raise AttachError(f"adapter {adapter.name!r} was detached or replaced by another thread")
        attachment.undo.close()


def replace(adapter: AdapterParts, other: AdapterParts, *, strict: bool = False) -> bool:
    """Exchange the matrices in the layers of an attached adapter for those of another of the same shape.

    The first time that the other adapter is used on this backbone, it is checked as by :func:`attach`, including its
    canary. After that the exchange takes microseconds for any size. Projectors may be of any kind.

    Returns:
        False, with nothing changed, if :func:`detach` and :func:`attach` are needed: one of the two has token rows, or
            their LoRA differ in targets or shapes.

    Raises:
        InlayError: as in :func:`attach`; ``adapter`` stays attached.
    """
    if not adapter.attached:
        return False
    with changing(adapter.attachment.backbone, "swap"):
        return _replace(adapter, other, strict)


def swap(adapter: AdapterParts, other: AdapterParts, *, strict: bool = False) -> None:
    """Replace an attached adapter by another one; on an error the attached one stays.

    The caller holds the language model by :func:`changing`.

    Raises:
        InlayError: as in :func:`attach`.
    """
    backbone = adapter.attachment.backbone
    try:
        if not _replace(adapter, other, strict):
            detach(adapter)
            attach(other, backbone, strict=strict)
    except BaseException:
        if backbone.attached is None:  # the other adapter may be attached to another backbone
            attach(adapter, backbone, verify=False)
        raise


def _replace(adapter: AdapterParts, other: AdapterParts, strict: bool) -> bool:
    if other.attached or not _exchangeable(adapter, other):
        return False
    backbone = adapter.attachment.backbone
    known = other._admission
    if known is not None and known.holds(backbone.identity, strict=strict, verified=True):
        _exchange(adapter, other)
        return True
    report = admit(other, backbone, strict=strict)
    _exchange(adapter, other)
    try:
        _verify(other, backbone, report)
    except BaseException:
        _exchange(other, adapter)
        raise
    return True


def admit(adapter: AdapterParts, backbone: Backbone, *, strict: bool = False) -> Report:
    """Check that an adapter fits a backbone, and move its weights there.

    Raises:
        IncompatibleBackbone: it does not fit.
    """
    report = check(adapter.interface, backbone.ports)
    require(report, adapter.name, strict=strict, trained=adapter.training_facts is not None)
    device = backbone.device
    if any(parameter.device != device for parameter in adapter.parameters()):
        adapter.to(device)
    adapter._admission = Admission(backbone.identity, report)
    return report


def admit_row(adapter: AdapterParts, backbone: Backbone) -> None:
    """Check that an adapter can be used for rows of a batch without being attached; the result is stored.

    Raises:
        AttachError: it is attached to another backbone.
        IncompatibleBackbone: it does not fit.
    """
    if adapter.attached:
        raise AttachError(f"adapter {adapter.name!r} is attached to another backbone; call its detach() first")
    if adapter._admission is None or not adapter._admission.holds(backbone.identity):
        admit(adapter, backbone)


def _verify(adapter: AdapterParts, backbone: Backbone, report: Report) -> None:
    """Run the canary, if there is one for these weights and the backbone is the one on which it was recorded."""
    if report.verdict == "exact" and (stored := adapter.canary) is not None:
        core = ModelCore(backbone, adapter)
        canary.verify(core.probe, stored, backbone.llm.dtype, core.probe_conditioning, backbone.ports)
    adapter._admission = Admission(backbone.identity, report, verified=True)


def _exchangeable(one: AdapterParts, two: AdapterParts) -> bool:
    if one.tokens is not None or two.tokens is not None:
        return False
    if one.lora is None or two.lora is None:
        return one.lora is two.lora
    return one.lora.is_like(two.lora)


def _exchange(attached: AdapterParts, other: AdapterParts) -> None:
    """Transfer the layers and the attachment of an attached adapter to another one."""
    attachment = attached.attachment
    _take(other, attachment)
    try:
        if attached.lora is not None and other.lora is not None:
            attached.lora.hand_over(other.lora)
    except BaseException:
        other._attachment = None
        raise
    attachment.adapter, attachment.name = other, other.name
    attached._attachment = None


def _take(adapter: AdapterParts, attachment: Attachment) -> None:
    """Set an adapter's attachment; if two threads attach it to different language models, one of them raises."""
    with _TAKING:
        if adapter.attached:
            raise AttachError(f"adapter {adapter.name!r} is already attached; call detach() first")
        adapter._attachment = attachment


def _forget(itself: weakref.ref[Attachment]) -> None:
    """End an attachment, for the adapter that has it now."""
    if (attachment := itself()) is not None:
        holder, attachment.adapter = attachment.adapter, None
        if isinstance(holder, AdapterParts) and holder._attachment is attachment:
            holder._attachment = None


def _adapter_layers(model: nn.Module) -> str | None:
    """The reason why nothing can be attached to a language model without an owner; None if it is possible."""
    if (foreign := foreign_adapters(model)) is not None:
        return foreign
    for name, module in model.named_modules():
        call = module.__dict__.get("forward")
        if isinstance(module, LoraLinear) or (isinstance(call, (RowEmbeddings, HeadCall)) and call.attached):
            return (
                f"this language model has an adapter's {type(module).__name__} at {name}: it is a copy of a language "
                "model to which an adapter is attached, or shares modules with one. Detach that adapter first (and "
                "copy afterwards)"
            )
    return None
