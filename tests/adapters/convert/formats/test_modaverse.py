"""ModaVerse's file against a LLaMA with resized matrices and merged LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import attached
from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.convert import ConvertError, import_adapter, read_checkpoint

NEW = 6
LLM = "LLM.base_model.model."


@pytest.fixture
def backbone(llm_of: Any, clip_of: Any) -> Backbone:
    return Backbone(llm_of("llama"), {"image": clip_of()})


def saved(folder: Path, tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(tensors, folder / "pytorch_model.pt")
    return folder


def trained(backbone: Backbone) -> dict[str, Tensor]:
    torch.manual_seed(8)
    llm: Any = backbone.llm.model
    tensors = {"linear_proj.weight": torch.randn(32, 24) * 0.3, "linear_proj.bias": torch.randn(32)}
    tensors[f"{LLM}model.layers.1.self_attn.q_proj.lora_A.default.weight"] = torch.randn(4, 32) * 0.3
    tensors[f"{LLM}model.layers.1.self_attn.q_proj.lora_B.default.weight"] = torch.randn(32, 4) * 0.3
    for name, matrix in (("model.embed_tokens", llm.model.embed_tokens), ("lm_head", llm.lm_head)):
        tensors[f"{LLM}{name}.weight"] = torch.cat([matrix.weight.detach(), torch.randn(NEW, 32) * 0.2])
    return tensors


def test_logits_equal_those_of_the_resized_and_merged_language_model(
    backbone: Backbone, image_of: Any, llm_of: Any, tmp_path: Path
) -> None:
    tensors = trained(backbone)
    found = import_adapter(saved(tmp_path / "modaverse", tensors), backbone=backbone)
    model = attached(found, tmp_path / "bundle")
    reference = llm_of("llama").model
    before = reference.config.vocab_size
    reference.resize_token_embeddings(before + NEW, mean_resizing=False)
    with torch.no_grad():
        reference.model.embed_tokens.weight.copy_(tensors[f"{LLM}model.embed_tokens.weight"])
        reference.lm_head.weight.copy_(tensors[f"{LLM}lm_head.weight"])
        name = f"{LLM}model.layers.1.self_attn.q_proj"
        up, down = tensors[f"{name}.lora_B.default.weight"], tensors[f"{name}.lora_A.default.weight"]
        reference.model.layers[1].self_attn.q_proj.weight.add_(32 / 4 * up @ down)
        rows = [
            (
                Message("user", (MediaPart("image", image_of(0)), TextPart("What?"))),
                Message("assistant", (TextPart("red"),)),
            )
        ]
        batch = model.batch(rows)
        assert int((batch.ids >= before).sum()) >= 3  # <Media>, </Media> and [TEXT]
        embeddings = reference.model.embed_tokens(batch.ids)
        features = backbone.encoder("image").encode(batch.inputs["image"])
        projected = features @ tensors["linear_proj.weight"].T + tensors["linear_proj.bias"]
        embeddings[batch.slots] = projected.flatten(0, 1)
        theirs = reference(inputs_embeds=embeddings, attention_mask=batch.mask).logits
        ours = model(batch, logits="all").logits
    assert float((ours - theirs).abs()[batch.mask.bool()].max()) <= 1e-5


def test_extra_tensors_are_named(backbone: Backbone, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"1 others: Encoder\.x"):
        read_checkpoint(saved(tmp_path / "a", trained(backbone) | {"Encoder.x": torch.ones(1)}))
