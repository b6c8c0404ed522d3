"""MiniGPT-4's linear layer behind BLIP-2's Q-Former, and on merged patches, against its forward pass written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from blip_checkpoints import blip_folder, hf_blip
from foreign_checkpoints import attached, hf_llava, llama_folder, rows
from torch.nn.functional import layer_norm, linear

from inlay.adapters.convert import ConvertError, import_adapter, read_checkpoint


@pytest.fixture
def blip2(tokenizer_of: Any) -> Any:
    return hf_blip("blip2", tokenizer_of())


@pytest.fixture
def models(blip2: Any, tokenizer_of: Any, tmp_path: Path) -> dict[str, Any]:
    llm = llama_folder(tmp_path / "vicuna", hf_llava(tokenizer_of()), tokenizer_of())
    return {"llm": llm, "image": blip_folder(tmp_path / "blip2", blip2, tokenizer_of()), "dtype": "float32"}


def saved(path: Path, width_in: int, **more: Any) -> tuple[Path, Any, Any]:
    torch.manual_seed(5)
    weight, bias = torch.randn(32, width_in) * 0.2, torch.randn(32)
    tensors = {"llama_proj.weight": weight, "llama_proj.bias": bias, **more}
    torch.save({"model": tensors, "optimizer": {}, "config": {}, "scaler": {}, "epoch": 4}, path)
    return path, weight, bias


def check(model: Any, batch: Any, projected: Any) -> None:
    """Our logits against those of the bare LLM on embeddings with the projected features in their places."""
    llm = model.backbone.llm.model
    with torch.no_grad():
        embeddings = llm.get_input_embeddings()(batch.ids.masked_fill(batch.slots, 0)).clone()
        embeddings[batch.slots] = projected.flatten(0, 1)
        theirs = llm(inputs_embeds=embeddings, attention_mask=batch.mask).logits
        ours = model(batch, logits="all").logits
    assert float((ours - theirs).abs()[batch.mask.bool()].max()) <= 1e-5


def test_logits_equal_with_the_q_former(blip2: Any, models: Any, image_of: Any, tmp_path: Path) -> None:
    path, weight, bias = saved(tmp_path / "pretrained_minigpt4.pth", 128)
    model = attached(import_adapter(path, **models), tmp_path / "bundle")
    assert model.adapter.layout.template == "minigpt4"
    batch = model.batch(rows(image_of))
    with torch.no_grad():
        states = blip2.vision_model(batch.inputs["image"]).last_hidden_state
        queries = blip2.query_tokens.expand(len(states), -1, -1)
        former = blip2.qformer(query_embeds=queries, encoder_hidden_states=states).last_hidden_state
    check(model, batch, linear(former, weight, bias))


def test_logits_equal_with_merged_patches(blip2: Any, models: Any, image_of: Any, tmp_path: Path) -> None:
    path, weight, bias = saved(tmp_path / "llama2.pth", 96)
    model = attached(import_adapter(path, **models, template="minigpt4_llama2"), tmp_path / "bundle")
    batch = model.batch(rows(image_of))
    with torch.no_grad():
        inner = blip2.vision_model.encoder(inputs_embeds=blip2.vision_model.embeddings(batch.inputs["image"]))
        normed = layer_norm(inner.last_hidden_state, (24,))[:, 1:]  # nothing loads ln_vision there
        merged = normed.reshape(len(normed), normed.shape[1] // 4, 96)
    check(model, batch, linear(merged, weight, bias))


def test_the_published_width_of_llama_2_is_recognised(tmp_path: Path) -> None:
    found = read_checkpoint(saved(tmp_path / "x.pth", 5632)[0])
    assert (found.inputs["image"][0], found.layout.template) == ("patch_merge", "minigpt4_llama2")
    assert found.inputs["image"][1]["width_in"] == 1408
    assert not found.models.qformer


def test_missing_extra_and_misshapen_tensors_are_named(models: Any, tmp_path: Path) -> None:
    path, weight, bias = saved(tmp_path / "x.pth", 128)
    torch.save({"model": {"llama_proj.weight": weight}}, path)
    with pytest.raises(ConvertError, match=r"inputs\.image\.layer\.bias is missing"):
        import_adapter(path, **models)
    torch.save({"model": {"llama_proj.weight": weight, "llama_proj.bias": bias[:3]}}, path)
    with pytest.raises(ConvertError, match=r"layer\.bias has the shape \[3\]"):
        import_adapter(path, **models)
    torch.save({"model": {"llama_proj.weight": weight, "llama_proj.bias": bias, "x.lora_A": bias}}, path)
    with pytest.raises(ConvertError, match=r"1 others: x\.lora_A"):
        read_checkpoint(path, converter="minigpt4")
