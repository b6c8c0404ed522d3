"""Files of LAVIS against transformers' BLIP-2 and InstructBLIP with the weights, under LAVIS's epsilon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from blip_checkpoints import blip_folder, blip_logits_differ, hf_blip, lavis
from foreign_checkpoints import attached
from torch import Tensor

from inlay.adapters.convert import ConvertError, import_adapter, read_checkpoint
from inlay.adapters.convert.formats.lavis import BLIP2_KEYS


@pytest.fixture
def reference(tokenizer_of: Any) -> Any:
    return hf_blip("blip2", tokenizer_of())


@pytest.fixture
def models(reference: Any, tokenizer_of: Any, tmp_path: Path) -> dict[str, Any]:
    place = blip_folder(tmp_path / "blip2", reference, tokenizer_of())
    return {"llm": place, "image": place, "dtype": "float32"}


def saved(path: Path, tensors: dict[str, Tensor]) -> Path:
    torch.save({"model": tensors, "optimizer": {"state": {}}, "config": {"run": {}}, "scaler": None, "epoch": 9}, path)
    return path


def test_logits_of_stage_2_equal_those_of_transformers(
    reference: Any, models: Any, image_of: Any, tmp_path: Path
) -> None:
    found = import_adapter(saved(tmp_path / "blip2_opt.pth", lavis(reference, "opt_proj")), **models)
    model = attached(found, tmp_path / "bundle")
    reference.vision_model.post_layernorm.eps = 1e-5  # LAVIS's
    assert blip_logits_differ(model, reference, image_of) <= 1e-5


def test_logits_of_instructblip_equal_those_of_transformers(
    tokenizer_of: Any, prompt_tokenizer_of: Any, image_of: Any, tmp_path: Path
) -> None:
    prompts = prompt_tokenizer_of()
    reference = hf_blip("instructblip", tokenizer_of(), family="llama", vocabulary=prompts.vocabulary)
    place = blip_folder(tmp_path / "x", reference, tokenizer_of(), prompts)
    path = saved(tmp_path / "instruct.pth", lavis(reference, "llm_proj"))
    found = import_adapter(path, llm=place, image=place, prompt=place / "qformer_tokenizer", dtype="float32")
    model = attached(found, tmp_path / "bundle")
    reference.vision_model.post_layernorm.eps = 1e-5
    assert blip_logits_differ(model, reference, image_of) <= 1e-5


def test_a_vision_tower_in_the_file_is_compared(reference: Any, models: Any, tmp_path: Path) -> None:
    tensors = lavis(reference, "opt_proj", vision=True)
    # transformers has a bias of the keys too, which is not zero in this random model, and which LAVIS does not have.
    with pytest.raises(ConvertError, match=r"tensors of the image encoder.*self_attn\.qkv\.bias"):
        import_adapter(saved(tmp_path / "a.pth", tensors), **models)
    tensors = {name: t for name, t in tensors.items() if "_bias" not in name}
    assert import_adapter(saved(tmp_path / "b.pth", tensors), **models).compared == {"image": 26}
    tensors["visual_encoder.cls_token"] = tensors["visual_encoder.cls_token"] + 1
    with pytest.raises(ConvertError, match="1 of 26 tensors of the image encoder"):
        import_adapter(saved(tmp_path / "c.pth", tensors), **models)


def test_biases_of_queries_and_values_are_joined_with_zeros_for_keys(reference: Any, tmp_path: Path) -> None:
    tensors = lavis(reference, "opt_proj", vision=True)
    frozen = read_checkpoint(saved(tmp_path / "a.pth", tensors)).frozen["image"]
    joined = frozen["encoder.layers.1.self_attn.qkv.bias"].chunk(3)
    own = reference.vision_model.encoder.layers[1].self_attn.qkv.bias.chunk(3)
    assert torch.equal(joined[0], own[0])
    assert torch.equal(joined[2], own[2])
    assert not joined[1].any()


def test_stage_1_has_a_new_layer_in_front_of_the_llm_and_names_what_it_leaves_out(
    reference: Any, models: Any, tmp_path: Path
) -> None:
    tensors = {n: t for n, t in lavis(reference, "opt_proj").items() if not n.startswith("opt_proj")}
    tensors |= {"vision_proj.weight": torch.ones(2), "itm_head.weight": torch.ones(2), "temp": torch.ones(())}
    tensors |= {"Qformer.cls.predictions.bias": torch.ones(3), "Qformer.bert.embeddings.position_ids": torch.ones(3)}
    tensors["Qformer.bert.embeddings.word_embeddings.weight"] = torch.ones(4, 128)
    tensors["Qformer.bert.encoder.layer.0.intermediate.dense.weight"] = torch.ones(24, 128)
    found = import_adapter(saved(tmp_path / "stage1.pth", tensors), **models)
    assert found.fresh == ("inputs.image.projection.",)
    assert sum(found.ignored.values()) == 7
    assert torch.equal(found.adapter.inputs["image"].qformer.query_tokens, reference.query_tokens)


def test_missing_and_extra_tensors_are_named(reference: Any, models: Any, tmp_path: Path) -> None:
    held = lavis(reference, "opt_proj")
    name = "Qformer.bert.encoder.layer.1.attention.output.LayerNorm.bias"
    with pytest.raises(ConvertError, match=r"layer\.1\.attention\.output\.LayerNorm\.bias is missing"):
        import_adapter(saved(tmp_path / "a.pth", {n: t for n, t in held.items() if n != name}), **models)
    with pytest.raises(ConvertError, match="1 others: prompt_learner"):
        read_checkpoint(saved(tmp_path / "b.pth", held | {"prompt_learner": torch.ones(1)}))


def test_the_models_must_be_given(reference: Any, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="--llm"):
        import_adapter(saved(tmp_path / "a.pth", lavis(reference, "opt_proj")))


def test_the_key_table_writes_the_names_of_lavis(reference: Any, tmp_path: Path) -> None:
    held = lavis(reference, "opt_proj")
    written = BLIP2_KEYS.write(read_checkpoint(saved(tmp_path / "a.pth", held)).tensors)
    assert set(written) == set(held)
