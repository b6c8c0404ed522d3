"""Swapping adapters of one shape in place: the numbers of attach, no module made, no number copied, one check each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from inlay.adapters import AttachError, IncompatibleBackbone, OtherWeightsWarning, parse_messages
from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility import canary
from inlay.adapters.compatibility.canary import CanaryError
from inlay.hub.format.manifest import TrainingSpec

Make = Callable[..., Any]


def scores(model: Any, picture: Any) -> Tensor:
    content = [{"type": "image", "image": picture}, {"type": "text", "text": "what?"}]
    probed: Tensor = model.probe(parse_messages([{"role": "user", "content": content}]))
    return probed


def modules_of(backbone: Any) -> list[Any]:
    return list(backbone.llm.model.modules())


@pytest.fixture
def three(backbone_of: Make, adapter_of: Make) -> Any:
    """A backbone, three adapters of one shape (the third with another projector), and their scores by attach."""
    backbone = backbone_of()
    kinds = {3: "mlp", 4: "mlp", 5: "linear"}
    return backbone, [adapter_of(backbone, seed=seed, kind=kind).eval() for seed, kind in kinds.items()]


def test_it_gives_the_numbers_of_attach_and_touches_no_module(three: Any, image_of: Make) -> None:
    backbone, adapters = three
    wanted = []
    for adapter in adapters:
        wanted.append(scores(adapter.attach(backbone), image_of()))
        adapter.detach()
    assert not torch.equal(wanted[0], wanted[1])
    model = adapters[0].attach(backbone)
    modules = modules_of(backbone)
    places = [parameter.data_ptr() for adapter in adapters for parameter in adapter.parameters()]
    for index in (1, 2, 0, 2, 1, 0):
        assert model.swap(adapters[index]) is model
        assert torch.equal(scores(model, image_of()), wanted[index])
        assert [adapter.attached for adapter in adapters] == [other == index for other in range(3)]
        assert backbone.attached == adapters[index].name
    assert all(one is two for one, two in zip(modules_of(backbone), modules, strict=True))
    assert [parameter.data_ptr() for adapter in adapters for parameter in adapter.parameters()] == places


def test_one_that_was_read_takes_the_place_of_one_that_was_made(
    llm_of: Make, clip_of: Make, adapter_of: Make, image_of: Make, tmp_path: Path
) -> None:
    """With ten layers and more the names in a file are in another order than the layers."""
    backbone = Backbone(llm_of("llama", num_hidden_layers=11), {"image": clip_of()})
    made = adapter_of(backbone).eval()
    adapter_of(backbone, seed=4).save_pretrained(tmp_path / "x")
    read = Adapter.from_pretrained(tmp_path / "x").eval()
    assert made.lora.targets != read.lora.targets
    wanted = scores(read.attach(backbone), image_of())
    read.detach()
    model = made.attach(backbone)
    first = scores(model, image_of())
    assert made.replaced_by(read)
    assert torch.equal(scores(type(model)(backbone, read), image_of()), wanted)
    assert (made.lora.attached, read.lora.attached) == (False, True)
    assert read.replaced_by(made)
    assert torch.equal(scores(model, image_of()), first)


def test_what_is_read_lies_in_one_piece_of_memory(backbone_of: Make, adapter_of: Make, tmp_path: Path) -> None:
    backbone = backbone_of()
    adapter_of(backbone).save_pretrained(tmp_path / "x")
    lora = Adapter.from_pretrained(tmp_path / "x").lora
    assert lora is not None
    assert len({parameter.untyped_storage().data_ptr() for parameter in lora.parameters()}) == 1
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in lora.parameters())


def test_afterwards_detach_leaves_the_bare_backbone(three: Any, image_of: Make) -> None:
    backbone, adapters = three
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    modules = modules_of(backbone)
    model = adapters[0].attach(backbone)
    wanted = scores(model, image_of())
    model.swap(adapters[1])
    with pytest.raises(AttachError, match="not attached"):
        adapters[0].detach()
    model.adapter.detach()
    assert all(one is two for one, two in zip(modules_of(backbone), modules, strict=True))
    after = backbone.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    again = scores(adapters[0].attach(backbone), image_of())
    adapters[0].detach()
    assert torch.equal(again, wanted)


def test_training_goes_on_with_the_adapter_that_is_there(three: Any, image_of: Make) -> None:
    backbone, adapters = three
    model = adapters[0].attach(backbone).swap(adapters[1])
    conversation = parse_messages(
        [{"role": "user", "content": [{"type": "image", "image": image_of()}]}, {"role": "assistant", "content": "red"}]
    )
    model(model.batch([conversation])).loss.backward()
    assert all(parameter.grad is not None for parameter in adapters[1].parameters())
    assert all(parameter.grad is None for parameter in adapters[0].parameters())


@pytest.mark.parametrize("change", [{"r": 2}, {"dropout": 0.5}], ids=str)
def test_another_rank_or_dropout_takes_the_fast_way_too(
    backbone_of: Make, adapter_of: Make, image_of: Make, change: Any
) -> None:
    backbone = backbone_of()
    one, two = adapter_of(backbone).eval(), adapter_of(backbone, seed=4, **change).eval()
    wanted = scores(two.attach(backbone), image_of())
    two.detach()
    model = one.attach(backbone)
    first = scores(model, image_of())
    assert one.replaced_by(two)
    assert torch.equal(scores(type(model)(backbone, two), image_of()), wanted)
    assert two.replaced_by(one)
    assert torch.equal(scores(model, image_of()), first)


@pytest.mark.parametrize("change", [{"r": None}], ids=str)
def test_another_shape_takes_the_slow_way(backbone_of: Make, adapter_of: Make, image_of: Make, change: Any) -> None:
    backbone = backbone_of()
    one, two = adapter_of(backbone).eval(), adapter_of(backbone, seed=4, **change).eval()
    wanted = scores(two.attach(backbone), image_of())
    two.detach()
    model = one.attach(backbone)
    assert not one.replaced_by(two)
    assert one.attached
    first = scores(model, image_of())
    assert torch.equal(scores(model.swap(two), image_of()), wanted)
    assert torch.equal(scores(model.swap(one), image_of()), first)


def test_dropout_follows_the_adapter_that_came(backbone_of: Make, adapter_of: Make) -> None:
    backbone = backbone_of()
    one, two = adapter_of(backbone, dropout=0.5).eval(), adapter_of(backbone, dropout=0.5, seed=4).train()
    one.attach(backbone)
    layer, x = backbone.llm.model.get_submodule(one.lora.targets[0]), torch.randn(2, 32)
    assert torch.equal(layer(x), layer(x))
    assert one.replaced_by(two)
    assert not torch.equal(layer(x), layer(x))
    two.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.fixture
def saved(three: Any, tmp_path: Path) -> Any:
    """The first two, read again from bundles with canaries."""
    backbone, adapters = three
    read = []
    for adapter in adapters[:2]:
        adapter.attach(backbone)
        adapter.save_pretrained(tmp_path / adapter.name)
        adapter.detach()
        read.append(Adapter.from_pretrained(tmp_path / adapter.name).eval())
    return backbone, read


def test_the_canary_runs_the_first_time_only(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, (one, two) = saved
    runs: list[str] = []
    real = canary.verify

    def counted(*args: Any) -> float:
        runs.append("canary")
        return real(*args)

    monkeypatch.setattr(canary, "verify", counted)
    model = one.attach(backbone)
    assert len(runs) == 1
    for adapter in (two, one, two, one):
        model.swap(adapter)
    assert len(runs) == 2


def test_a_canary_that_dies_leaves_the_old_adapter_at_work(saved: Any, image_of: Make) -> None:
    backbone, (one, two) = saved
    model = one.attach(backbone)
    before = scores(model, image_of())
    promised = two.canary
    with torch.no_grad():
        two.inputs["image"].layers[0].weight.mul_(9.0)
    two.canary = promised
    with pytest.raises(CanaryError):
        model.swap(two)
    assert (one.attached, two.attached, backbone.attached) == (True, False, one.name)
    assert torch.equal(scores(model, image_of()), before)


def test_other_weights_warn_once_and_strict_refuses_each_time(saved: Any, backbone_of: Make) -> None:
    _, (one, two) = saved
    other = backbone_of(seed=9)
    for adapter in (one, two):
        adapter.training_facts = TrainingSpec(recipe="llava", stages=("align",), data="x", seed=0)
    with pytest.warns(OtherWeightsWarning) as attached:
        model = one.attach(other)
    with pytest.warns(OtherWeightsWarning) as swapped:
        model.swap(two)
    assert [warned[0].filename for warned in (attached, swapped)] == [__file__] * 2
    model.swap(one)  # known by now: a warning would be an error here
    with pytest.raises(IncompatibleBackbone, match="strict=True was given"):
        model.swap(two, strict=True)
    assert model.adapter is one
    assert one.attached


def test_one_that_does_not_fit_is_refused(three: Any, adapter_of: Make, image_of: Make) -> None:
    backbone, adapters = three
    model = adapters[0].attach(backbone)
    before = scores(model, image_of())
    stranger = adapter_of(backbone, seed=8)
    stranger.interface["image"] = stranger.interface["image"].model_copy(update={"width": 25})
    with pytest.raises(IncompatibleBackbone, match=r"width"):
        model.swap(stranger)
    assert torch.equal(scores(model, image_of()), before)


def test_a_swap_with_one_that_is_attached_elsewhere_is_refused_and_changes_nothing(
    backbone_of: Make, adapter_of: Make, image_of: Make
) -> None:
    backbone, elsewhere = backbone_of(), backbone_of()
    adapter, other = adapter_of(backbone).eval(), adapter_of(elsewhere, seed=5).eval()
    model = adapter.attach(backbone)
    other.attach(elsewhere)
    before = scores(model, image_of())
    with pytest.raises(AttachError, match="already attached"):
        model.swap(other)
    assert adapter.attached
    assert other.attached
    assert torch.equal(scores(model, image_of()), before)
