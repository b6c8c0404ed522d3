"""Checkpoints of LLaVA's code base: stage 1, LoRA runs and whole models, against transformers' LLaVA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import (
    attached,
    llava_config,
    logits_differ,
    original_llava,
    rows,
)
from torch import Tensor

from inlay.adapters.convert import ConvertError, import_adapter, read_checkpoint
from inlay.adapters.convert.formats.llava import KEYS
from inlay.hub.errors import InlayError

PEFT = "base_model.model."


def written(folder: Path, tensors: dict[str, Tensor], name: str = "mm_projector.bin", **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(tensors, folder / name)
    (folder / "config.json").write_text(json.dumps(llava_config(**config)))
    return folder


def lora_run(folder: Path, reference: Any, *, default: str = "", scale: float = 2.0) -> dict[str, Tensor]:
    """LoRA on q and v beside the projector; returns what the update adds to each matrix of the LLM."""
    written(folder, {f"{PEFT}{key}": t for key, t in original_llava(reference).items()}, "non_lora_trainables.bin")
    generator = torch.Generator().manual_seed(1)
    tensors, added = {}, {}
    for layer in range(2):
        for name, out in (("q_proj", 32), ("v_proj", 16)):
            down, up = (torch.randn(shape, generator=generator) * 0.3 for shape in ((4, 32), (out, 4)))
            module = f"model.layers.{layer}.self_attn.{name}"
            tensors[f"{PEFT}{module}.lora_A{default}.weight"] = down
            tensors[f"{PEFT}{module}.lora_B{default}.weight"] = up
            added[f"{module}.weight".removeprefix("model.")] = scale * up @ down
    torch.save(tensors, folder / "adapter_model.bin")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "lora_dropout": 0.05}
    config |= {"target_modules": ["q_proj", "v_proj"], "bias": "none", "modules_to_save": None}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "lmsys/vicuna"}))
    return added


def test_logits_with_a_stage_one_projector_equal_those_of_transformers(
    reference: Any, models: Any, image_of: Any, tmp_path: Path
) -> None:
    source = written(tmp_path / "stage1", original_llava(reference), tune_mm_mlp_adapter=True)
    found = import_adapter(source, **models)
    assert found.adapter.layout.template == "plain"
    model = attached(found, tmp_path / "bundle")
    assert logits_differ(model, reference, model.batch(rows(image_of))) <= 1e-5


def test_a_linear_projector_of_version_one_gives_w_x_plus_b(
    reference: Any, models: Any, image_of: Any, tmp_path: Path
) -> None:
    weight, bias = torch.randn(32, 24), torch.randn(32)
    tensors = {"model.mm_projector.weight": weight, "model.mm_projector.bias": bias}
    config = llava_config(image_aspect_ratio=None)
    del config["mm_projector_type"]
    source = written(tmp_path / "stage1", tensors)
    (source / "config.json").write_text(json.dumps(config))
    model = attached(import_adapter(source, **models), tmp_path / "bundle")
    assert model.adapter.layout.geometry["image"] == "crop"
    batch = model.batch(rows(image_of))
    with torch.no_grad():
        states = reference.model.vision_tower(batch.inputs["image"], output_hidden_states=True).hidden_states[-2]
        expected = states[:, 1:] @ weight.T + bias
    torch.testing.assert_close(model.embeddings(batch)[batch.slots], expected.flatten(0, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("default", ["", ".default"], ids=["file", "in-memory"])
def test_logits_of_a_lora_run_equal_those_of_the_merged_model(
    reference: Any, models: Any, image_of: Any, tmp_path: Path, default: str
) -> None:
    added = lora_run(tmp_path / "llava-lora", reference, default=default)
    found = import_adapter(tmp_path / "llava-lora", **models)
    assert found.adapter.layout.template == "vicuna_v1"
    assert found.adapter.lora.config.targets == ("q_proj", "v_proj")
    model = attached(found, tmp_path / "bundle")
    with torch.no_grad():
        for name, update in added.items():
            reference.model.language_model.get_parameter(name).add_(update)
    assert logits_differ(model, reference, model.batch(rows(image_of))) <= 1e-5


def test_logits_of_a_whole_model_equal_and_its_language_model_is_compared(
    reference: Any, models: Any, image_of: Any, tmp_path: Path
) -> None:
    source = whole(tmp_path / "llava-v1.5", reference)
    found = import_adapter(source, **models)
    assert found.compared["llm"] == 21
    model = attached(found, tmp_path / "bundle")
    assert logits_differ(model, reference, model.batch(rows(image_of))) <= 1e-5


def test_a_whole_model_with_a_tuned_language_model_is_refused_on_another_one(
    reference: Any, models: Any, tmp_path: Path
) -> None:
    source = whole(tmp_path / "llava-v1.5", reference, tuned=True)
    with pytest.raises(ConvertError, match=r"1 of 21 tensors of the language model.*model\.norm\.weight"):
        import_adapter(source, **models)


def whole(folder: Path, reference: Any, tuned: bool = False) -> Path:
    state = reference.model.language_model.state_dict()
    tensors = {f"model.{name}": tensor.clone() for name, tensor in state.items()}
    tensors["lm_head.weight"] = reference.lm_head.weight.detach().clone()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    if tuned:
        tensors["model.norm.weight"] += 0.5
    return written(folder, tensors | original_llava(reference), "pytorch_model.bin")


def test_the_new_rows_of_a_whole_model_are_not_compared(reference: Any, models: Any, tmp_path: Path) -> None:
    source = whole(tmp_path / "llava-v1.5", reference)
    tensors = torch.load(source / "pytorch_model.bin", weights_only=True)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = torch.cat([tensors[name], torch.randn(2, 32)])
    torch.save(tensors, source / "pytorch_model.bin")
    assert import_adapter(source, **models).compared["llm"] == 21


def test_what_lies_in_the_config_becomes_layout_and_interface(reference: Any, models: Any, tmp_path: Path) -> None:
    changes = {"mm_vision_select_layer": -3, "mm_vision_select_feature": "cls_patch"}
    source = written(tmp_path / "stage1", original_llava(reference), **changes)
    adapter = import_adapter(source, **models).adapter
    settings = adapter.interface["image"].settings
    assert (settings["layer"], settings["class_token"]) == (-3, "keep")
    assert dict(adapter.layout.geometry) == {"image": "pad"}


def test_the_models_are_those_that_the_files_name(reference: Any, tmp_path: Path) -> None:
    lora_run(tmp_path / "run", reference)
    models = read_checkpoint(tmp_path / "run").models
    assert (models.llm, models.image) == ("lmsys/vicuna", "openai/clip-vit-large-patch14-336")


def test_version_1_6_has_newline_and_canvases(reference: Any, models: Any, tmp_path: Path) -> None:
    newline = torch.randn(32)
    tensors = {**original_llava(reference), "model.image_newline": newline}
    anyres = {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad"}
    points = "[[16, 32], [32, 16], [48, 16]]"  # width, height in LLaVA's code
    source = written(tmp_path / "v1.6", tensors, **anyres, image_grid_pinpoints=points)
    adapter = import_adapter(source, **models).adapter
    assert adapter.layout.tiling == "anyres:2x1,1x2,1x3"
    assert torch.equal(adapter.newline.row, newline)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"mm_use_im_start_end": True}, "mm_use_im_start_end"),
        ({"mm_projector_type": "identity"}, "mm_projector_type"),
        ({"image_aspect_ratio": "anyres_max_9"}, "image_aspect_ratio"),
        ({"mm_vision_select_layer": None}, "mm_vision_select_layer"),
        ({"mm_vision_select_feature": "cls"}, "mm_vision_select_feature"),
        ({"image_aspect_ratio": "anyres", "mm_patch_merge_type": "flat"}, "mm_patch_merge_type"),
    ],
)
def test_a_setting_that_inlay_does_not_compute_is_refused_by_name(
    reference: Any, tmp_path: Path, config: Any, expected: str
) -> None:
    with pytest.raises(ConvertError, match=expected):
        read_checkpoint(written(tmp_path / "stage1", original_llava(reference), **config))


def test_a_trainer_checkpoint_without_its_projector_is_refused_with_advice(reference: Any, tmp_path: Path) -> None:
    lora_run(tmp_path / "checkpoint-100", reference)
    (tmp_path / "checkpoint-100" / "non_lora_trainables.bin").unlink()
    with pytest.raises(ConvertError, match=r"without non_lora_trainables\.bin.*--format peft"):
        read_checkpoint(tmp_path / "checkpoint-100")


def test_a_missing_extra_and_misshapen_tensor_are_named(reference: Any, models: Any, tmp_path: Path) -> None:
    held = original_llava(reference)
    missing = {name: t for name, t in held.items() if name != "model.mm_projector.2.bias"}
    with pytest.raises(ConvertError, match=r"inputs\.image\.layers\.2\.bias is missing"):
        import_adapter(written(tmp_path / "a", missing), **models)
    with pytest.raises(ConvertError, match=r"1 others: mm_resampler\.weight"):
        import_adapter(written(tmp_path / "b", held | {"mm_resampler.weight": torch.ones(2)}), **models)
    with pytest.raises(ConvertError, match=r"layers\.2\.bias has the shape \[31\] instead of \[32\]"):
        import_adapter(written(tmp_path / "c", held | {"model.mm_projector.2.bias": torch.ones(31)}), **models)


def test_another_vision_tower_is_refused_with_both_widths(reference: Any, models: Any, tmp_path: Path) -> None:
    held = original_llava(reference) | {"model.mm_projector.0.weight": torch.ones(32, 1024)}
    with pytest.raises(InlayError, match=r"1024.*24|24.*1024"):
        import_adapter(written(tmp_path / "a", held), **models)


def test_the_key_table_writes_what_it_reads(reference: Any, tmp_path: Path) -> None:
    held = original_llava(reference)
    written_again = KEYS.write(read_checkpoint(written(tmp_path / "a", held)).tensors)
    assert set(written_again) == set(held)
    assert all(torch.equal(written_again[name], held[name]) for name in held)
