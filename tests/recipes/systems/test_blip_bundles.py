"""Bundles as the family's recipes make them: on one backbone in turn, and on a wrong one with a table of why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.verdict import IncompatibleBackbone
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import PROJECTORS
from inlay.hub.format.manifest import TrainingSpec
from inlay.recipes.systems import blip2, instructblip, minigpt4

RECIPES = {
    "blip2": blip2.recipe("opt"),
    "instructblip": instructblip.recipe("vicuna"),
    "minigpt4": minigpt4.recipe("llama2"),
}


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """Writes an adapter of a recipe, with weights that show, and gives its folder."""

    def save(system: str, backbone: Backbone) -> Path:
        torch.manual_seed(len(system))
        adapter = RECIPES[system].adapter(backbone, system)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        adapter.training_facts = TrainingSpec(
            recipe=system, stages=("only",), data="none", seed=0, versions={}, metrics={}
        )
        adapter.attach(backbone)
        adapter.save_pretrained(tmp_path / system)
        adapter.detach()
        return tmp_path / system

    return save


@torch.no_grad()
def logits_of(model: Any, image: Any) -> torch.Tensor:
    user = Message("user", (MediaPart("image", image), TextPart("what is shown?")))
    batch = model.batch([(user, Message("assistant", (TextPart("a small blue star."),)))])
    return model(batch, logits="all").logits


def test_all_systems_take_turns_on_one_backbone(eva_backbone_of: Any, saved: Any, image_of: Any) -> None:
    backbone = eva_backbone_of("llama")
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    folders = {system: saved(system, backbone) for system in RECIPES}
    alone = {}
    for system, folder in folders.items():
        adapter = Adapter.from_pretrained(folder).eval()
        alone[system] = logits_of(adapter.attach(backbone, strict=True), image_of())
        adapter.detach()
    model: Any = Adapter.from_pretrained(folders["blip2"]).eval().attach(backbone)
    for system in ("minigpt4", "instructblip", "blip2", "minigpt4"):
        model = model.swap(Adapter.from_pretrained(folders[system]).eval(), strict=True)
        assert model.adapter.system == system
        assert torch.equal(logits_of(model, image_of()), alone[system])
    model.adapter.detach()
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def refusal(adapter: Adapter, backbone: Backbone) -> list[list[str]]:
    """The lines of the error, each cut into its columns."""
    with pytest.raises(IncompatibleBackbone) as error:
        adapter.attach(backbone)
    assert backbone.attached is None
    first, *table = str(error.value).splitlines()
    assert first == f"adapter {adapter.name!r} does not fit this backbone:"
    return [line.split() for line in table]


HEAD = ["port", "field", "expected", "found"]


def test_an_adapter_trained_on_opt_refuses_t5(eva_backbone_of: Any, saved: Any) -> None:
    opt, t5 = eva_backbone_of("opt"), eva_backbone_of("t5")
    digests = [str(backbone.llm.port.tokenizer)[:15] for backbone in (opt, t5)]
    assert refusal(Adapter.from_pretrained(saved("blip2", opt)), t5) == [
        HEAD,
        ["llm", "family", "opt", "t5"],
        ["llm", "tokenizer", *digests],
        ["llm", "decoder_layers", "none", "2"],
    ]


def test_an_adapter_trained_on_opt_refuses_another_opt(eva_backbone_of: Any, llm_of: Any, saved: Any) -> None:
    backbone = eva_backbone_of("opt")
    adapter = Adapter.from_pretrained(saved("blip2", backbone))
    encoder = backbone.encoder("image")
    wider = Backbone(llm_of("opt", hidden_size=48, num_hidden_layers=3), {"image": encoder})
    assert refusal(adapter, wider) == [HEAD, ["llm", "width", "32", "48"], ["llm", "layers", "2", "3"]]
    other = Backbone(llm_of("opt", seed=9), {"image": encoder})
    with pytest.raises(IncompatibleBackbone, match="other weights") as error:
        adapter.attach(other, strict=True)
    weights = [str(one.llm.port.weights)[:15] for one in (backbone, other)]
    assert str(error.value).splitlines()[2].split() == [
        "llm",
        "weights",
        "tiny/opt",
        weights[0],
        "tiny/opt",
        weights[1],
    ]


def test_an_adapter_trained_with_another_encoder_is_told_so(eva_backbone_of: Any, clip_of: Any, saved: Any) -> None:
    adapter = Adapter.from_pretrained(saved("instructblip", eva_backbone_of("llama")))
    backbone = eva_backbone_of("llama")
    table = refusal(adapter, Backbone(backbone.llm, {"image": clip_of()}))
    assert ["image", "family", "eva", "clip_vision_model"] in table
    assert ["image", "class_token", "keep", "drop"] in table
    assert ["prompt", "port", "wordlevel", "tokenizer", "none"] in table


@pytest.mark.parametrize("kind", sorted(PROJECTORS))
@pytest.mark.parametrize("system", sorted(RECIPES))
def test_any_projector_stands_in_any_system(eva_backbone_of: Any, image_of: Any, system: str, kind: str) -> None:
    backbone = eva_backbone_of("llama")
    adapter = replace(RECIPES[system], projector=kind).adapter(backbone, system).eval()
    assert adapter.projector("image").kind == kind
    assert logits_of(adapter.attach(backbone), image_of()).isfinite().all()
