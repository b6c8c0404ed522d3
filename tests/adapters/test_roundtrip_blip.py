"""Bundles of the BLIP family: save, load, attach, swap; their layouts, canaries and prompt tokenizers survive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.canary import CanaryError
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import projector_config
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.hub.errors import BundleError

QFORMER = {"queries": 3, "hidden": 16, "layers": 2, "heads": 2, "ffn": 24}
VQA = "Question: {} Short answer:"
BUNDLES = {
    "blip2-opt": ("opt", Layout.published("blip2", prompt=VQA), "qformer", None),
    "blip2-t5": ("t5", Layout.published("blip2", prompt="a photo of"), "qformer", None),
    "instructblip-llama": ("llama", Layout.published("instructblip"), "instruct_qformer", None),
    "instructblip-t5-lora": ("t5", Layout.published("instructblip"), "instruct_qformer", ("q", "v")),
    "minigpt4": ("llama", Layout.published("minigpt4", system="Look."), "linear", None),
}


pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def backbone_with(llm_of: Any, clip_of: Any, prompt_tokenizer_of: Any) -> Any:
    return lambda family: Backbone(llm_of(family), {"image": clip_of()}, prompt_tokenizer_of())


@pytest.fixture(params=BUNDLES)
def made(request: Any, backbone_with: Any) -> tuple[Backbone, Adapter]:
    family, layout, kind, targets = BUNDLES[request.param]
    backbone = backbone_with(family)
    return backbone, new_adapter(backbone, layout, kind, targets)


def new_adapter(backbone: Backbone, layout: Layout, kind: str, targets: Any = None, seed: int = 3) -> Adapter:
    torch.manual_seed(seed)
    more = {"vocabulary": backbone.prompter().vocabulary} if kind == "instruct_qformer" else {}
    adapter = Adapter.for_backbone(
        backbone,
        system="blip2",
        name=f"tiny-{seed}",
        layout=layout,
        inputs={"image": projector_config(kind, {} if kind == "linear" else QFORMER | more)},
        lora=LoraConfig(r=2, targets=targets) if targets else None,
    )
    for parameter in adapter.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.2)
    return adapter.eval()


def logits_of(model: Any, image: Any) -> torch.Tensor:
    user = Message("user", (MediaPart("image", image), TextPart("What is shown?")))
    return model(model.batch([(user, Message("assistant", (TextPart("a small blue star"),)))]), logits="all").logits


def test_loaded_bundle_gives_bit_equal_logits_and_the_same_layout(made: Any, image_of: Any, tmp_path: Path) -> None:
    backbone, adapter = made
    model = adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "one")
    saved = logits_of(model, image_of())
    adapter.detach()
    loaded = Adapter.from_pretrained(tmp_path / "one").eval()
    assert loaded.layout == adapter.layout
    assert loaded.interface == adapter.interface
    assert loaded.canary is not None
    assert torch.equal(logits_of(loaded.attach(backbone, strict=True), image_of()), saved)


def test_canary_notices_a_projector_that_changed(made: Any, tmp_path: Path) -> None:
    backbone, adapter = made
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "one")
    adapter.detach()
    loaded = Adapter.from_pretrained(tmp_path / "one").eval()
    promised = loaded.canary
    for parameter in loaded.inputs.parameters():
        parameter.zero_()
    loaded.canary = promised  # as if the projector had been lost while the bundle was read
    with pytest.raises(CanaryError, match="differ"):
        loaded.attach(backbone)
    assert backbone.attached is None


def test_backbone_is_bit_equal_after_a_swap_and_a_detach(made: Any, image_of: Any) -> None:
    backbone, adapter = made
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    model = adapter.attach(backbone)
    first = logits_of(model, image_of())
    other = new_adapter(backbone, Layout.published("plain"), "qformer", seed=8)
    assert not torch.equal(logits_of(model.swap(other), image_of())[0, -1], first[0, -1])
    other.detach()
    assert torch.equal(logits_of(adapter.attach(backbone), image_of()), first)
    adapter.detach()
    after = backbone.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_bundle_from_before_these_choices_keeps_its_meaning(backbone_with: Any, tmp_path: Path) -> None:
    backbone = backbone_with("llama")
    new_adapter(backbone, Layout(template="vicuna_v1"), "linear").save_pretrained(tmp_path / "one")
    path = tmp_path / "one" / "inlay.json"
    manifest = json.loads(path.read_text())
    del manifest["layout"]["bos"], manifest["layout"]["prompt"]
    path.write_text(json.dumps(manifest))
    assert Adapter.from_pretrained(tmp_path / "one").layout == Layout(template="vicuna_v1")


def test_a_place_of_bos_that_does_not_exist_is_refused(backbone_with: Any, tmp_path: Path) -> None:
    backbone = backbone_with("opt")
    new_adapter(backbone, Layout.published("blip2"), "linear").save_pretrained(tmp_path / "one")
    path = tmp_path / "one" / "inlay.json"
    path.write_text(path.read_text().replace("after_media", "somewhere"))
    with pytest.raises(BundleError, match=r"layout\.bos"):
        Adapter.from_pretrained(tmp_path / "one")
