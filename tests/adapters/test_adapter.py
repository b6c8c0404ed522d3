"""The adapter: eval mode after loading, memory, copies, the schema that it is checked against, its canary."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attached import with_tokens

from inlay.adapters import Adapter, AdapterError, Backbone, StaleCanaryWarning, parse_messages

ASKED = parse_messages([{"role": "user", "content": "what colour is it?"}])
Make = Callable[..., Any]


def test_a_loaded_adapter_is_in_eval_mode(backbone_of: Make, adapter_of: Make, tmp_path: Path) -> None:
    adapter_of(backbone_of()).save_pretrained(tmp_path / "one")
    loaded = Adapter.from_pretrained(tmp_path / "one")
    assert not any(module.training for module in loaded.modules())


def test_after_detach_nothing_keeps_the_backbone(backbone_of: Make, adapter_of: Make) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone).eval()
    model = adapter.attach(backbone)
    model.probe(ASKED)
    frozen = [weakref.ref(module) for module in backbone.llm.model.modules()]
    frozen += [weakref.ref(backbone), weakref.ref(backbone.encoder("image"))]
    adapter.detach()
    del model, backbone
    gc.collect()
    assert [reference() for reference in frozen if reference() is not None] == []
    assert sum(parameter.numel() for parameter in adapter.parameters()) > 0


def test_without_detach_the_backbone_goes_with_the_last_reference(backbone_of: Make, adapter_of: Make) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    model = adapter.attach(backbone)
    frozen = weakref.ref(backbone.llm.model)
    del model, backbone, adapter
    gc.collect()
    assert frozen() is None


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_of_an_attached_adapter_is_the_adapter_alone(llm_of: Make, how: str) -> None:
    backbone = Backbone(llm=llm_of("llama"))
    adapter = with_tokens(backbone)
    adapter.attach(backbone)
    copied = copy.deepcopy(adapter) if how == "deepcopy" else pickle.loads(pickle.dumps(adapter))
    own = sum(parameter.nbytes for parameter in adapter.parameters())
    assert len(pickle.dumps(copied)) < own + 60_000
    assert len(pickle.dumps(adapter)) < own + 60_000
    assert (copied.attached, adapter.attached) == (False, True)
    for (name, mine), (other, theirs) in zip(adapter.named_parameters(), copied.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(mine, theirs)
    adapter.detach()
    copied.attach(backbone)


UNSTORABLE: dict[str, tuple[dict[str, Any], str]] = {
    "a system with spaces": ({"system": "my system"}, "system"),
    "a name of two lines": ({"name": "one\ntwo"}, "name"),
    "a name of 600 characters": ({"name": "x" * 600}, "name"),
    "a licence with an escape": ({"license": "\x1b[31mMIT"}, "license"),
    "a name that is no text": ({"name": 7}, "name"),
}


@pytest.mark.parametrize("case", UNSTORABLE)
def test_a_value_that_a_bundle_cannot_hold_is_refused_when_the_adapter_is_built(
    backbone_of: Make, adapter_of: Make, case: str
) -> None:
    changes, field = UNSTORABLE[case]
    adapter = adapter_of(backbone_of())
    fields = {
        "system": "llava",
        "name": "any",
        "interface": adapter.interface,
        "layout": adapter.layout,
        "inputs": dict(adapter.inputs.items()),
        "lora": adapter.lora,
    }
    Adapter(**fields)
    with pytest.raises(AdapterError, match=f"^{field}: "):
        Adapter(**(fields | changes))


def test_a_canary_belongs_to_the_weights_that_it_was_recorded_with(
    backbone_of: Make, adapter_of: Make, tmp_path: Path
) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "one")
    adapter.detach()
    loaded = Adapter.from_pretrained(tmp_path / "one")
    assert loaded.canary is not None
    loaded.save_pretrained(tmp_path / "same")
    assert Adapter.from_pretrained(tmp_path / "same").canary == loaded.canary
    loaded.attach(backbone)
    with torch.no_grad():
        next(loaded.parameters()).mul_(3.0)
    loaded.detach()
    with pytest.warns(StaleCanaryWarning, match="written without one"):
        loaded.save_pretrained(tmp_path / "changed")
    changed = Adapter.from_pretrained(tmp_path / "changed")
    assert changed.canary is None
    changed.attach(backbone, strict=True)  # today's weights, no canary that would refuse them
    changed.save_pretrained(tmp_path / "recorded")
    changed.detach()
    Adapter.from_pretrained(tmp_path / "recorded").attach(backbone, strict=True)


def test_a_changed_adapter_attaches_again_in_the_same_process(
    backbone_of: Make, adapter_of: Make, tmp_path: Path
) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "one")
    adapter.detach()
    loaded = Adapter.from_pretrained(tmp_path / "one")
    loaded.attach(backbone)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.mul_(5.0)
    loaded.detach()
    loaded.attach(backbone, strict=True)


def test_an_interface_without_a_language_model_is_refused(backbone_of: Make, adapter_of: Make) -> None:
    adapter = adapter_of(backbone_of())
    ports = {name: port for name, port in adapter.interface.items() if name != "llm"}
    with pytest.raises(AdapterError, match="interface: expected a port 'llm', got image"):
        Adapter(
            system="llava",
            name="any",
            interface=ports,
            layout=adapter.layout,
            inputs=dict(adapter.inputs),
            lora=adapter.lora,
        )
