"""Every projector goes through a bundle and comes back the same, with nothing but its own tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.inputs import PROJECTORS, projector_config

SMALL = {"queries": 4, "hidden": 16, "layers": 2, "heads": 2, "ffn": 24}
FIELDS: dict[str, dict[str, Any]] = {
    "linear": {},
    "mlp": {},
    "qformer": SMALL,
    "instruct_qformer": SMALL | {"prompt_tokens": 16},
    "patch_merge": {"class_token": False},
    "pixel_shuffle": {"norm": True},
    "avg_pool": {},
    "perceiver": {"latents": 4, "depth": 1, "heads": 2, "head_width": 4, "activation": "gelu"},
    "cross_attention": {"queries": 4},
    "cformer": {"queries": 4, "hidden": 16, "layers": 1, "heads": 2, "ffn": 24},
}


def attach_reply(adapter: Adapter, backbone: Backbone, image: Any) -> str:
    message = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "red?"}]}]
    text = adapter.attach(backbone, strict=True).chat(message, max_new_tokens=4).text
    adapter.detach()
    return text


@pytest.mark.parametrize("kind", sorted(PROJECTORS))
def test_bundle_gives_back_the_same_adapter(
    kind: str, tmp_path: Path, llm_of: Any, clip_of: Any, prompt_tokenizer_of: Any, image_of: Any
) -> None:
    prompts = prompt_tokenizer_of()
    backbone = Backbone(llm_of("llama"), {"image": clip_of()}, prompts)
    fields = FIELDS[kind] | ({"vocabulary": prompts.vocabulary} if kind == "instruct_qformer" else {})
    torch.manual_seed(0)
    adapter = Adapter.for_backbone(
        backbone,
        system="test",
        name=kind,
        layout=Layout(template="vicuna_v1"),
        inputs={"image": projector_config(kind, fields)},
    )
    adapter.round_to("float32")
    before = attach_reply(adapter, backbone, image_of())
    adapter.save_pretrained(tmp_path / kind, dtype="float32")
    again = Adapter.from_pretrained(tmp_path / kind)
    assert again.projector("image").config == adapter.projector("image").config
    tensors = again.state_dict()
    assert sorted(tensors) == sorted(adapter.state_dict())
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in adapter.state_dict().items())
    assert attach_reply(again, backbone, image_of()) == before
