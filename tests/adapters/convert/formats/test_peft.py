"""LoRA folders of PEFT in every layout of names, on a bare language model and on a LLaVA folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import attached, hf_llava, hf_llava_folder, llama_folder, logits_differ, rows
from safetensors.torch import save_file

from inlay.adapters.convert import ConvertError, import_adapter

LAYOUTS = {
    "bare": "model.layers",
    "llava-4.51": "language_model.model.layers",
    "llava-4.52": "model.language_model.layers",
}
CONFIG = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "bias": "none"}


def lora_folder(folder: Path, layers: str, *, ranks: tuple[int, int] = (4, 4), **config: Any) -> dict[str, Any]:
    """LoRA on q of both layers; returns the product of B and A for each matrix of the LLM."""
    folder.mkdir()
    tensors, products = {}, {}
    generator = torch.Generator().manual_seed(1)
    for layer, rank in enumerate(ranks):
        down, up = (torch.randn(shape, generator=generator) * 0.3 for shape in ((rank, 32), (32, rank)))
        tensors[f"base_model.model.{layers}.{layer}.self_attn.q_proj.lora_A.weight"] = down
        tensors[f"base_model.model.{layers}.{layer}.self_attn.q_proj.lora_B.weight"] = up
        products[f"layers.{layer}.self_attn.q_proj.weight"] = up @ down
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = {"target_modules": "all-linear", **CONFIG, **config}
    (folder / "adapter_config.json").write_text(json.dumps(targets))
    return products


def merged(reference: Any, products: dict[str, Any], *scales: float) -> Any:
    with torch.no_grad():
        for (name, product), scale in zip(products.items(), scales, strict=True):
            reference.model.language_model.get_parameter(name).add_(scale * product)
    return reference


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_on_a_llava_folder_equal_those_of_the_merged_model(
    tokenizer_of: Any, image_of: Any, tmp_path: Path, layout: str
) -> None:
    reference = hf_llava(tokenizer_of())
    base = hf_llava_folder(tmp_path / "llava", reference, tokenizer_of(), "4.51")
    products = lora_folder(tmp_path / "lora", LAYOUTS[layout], base_model_name_or_path=str(base))
    found = import_adapter(tmp_path / "lora", dtype="float32")
    assert [part.name for part in found.adapter.parts()] == ["inputs.image", "lora"]
    model = attached(found, tmp_path / "bundle")
    assert logits_differ(model, merged(reference, products, 2.0, 2.0), model.batch(rows(image_of))) <= 1e-5


@pytest.mark.parametrize(
    ("ranks", "config", "scales"),
    [
        ((4, 4), {"use_rslora": True}, (4.0, 4.0)),
        ((4, 2), {"rank_pattern": {"layers.1.self_attn.q_proj": 2}}, (2.0, 4.0)),
        ((4, 4), {"alpha_pattern": {"layers.0.self_attn.q_proj": 2}}, (0.5, 2.0)),
    ],
    ids=["rslora", "rank-pattern", "alpha-pattern"],
)
def test_scale_and_rank_of_each_module_are_kept_on_a_bare_language_model(
    tokenizer_of: Any, image_of: Any, tmp_path: Path, ranks: Any, config: Any, scales: Any
) -> None:
    reference = hf_llava(tokenizer_of())
    llm = llama_folder(tmp_path / "llama", reference, tokenizer_of())
    products = lora_folder(tmp_path / "lora", LAYOUTS["bare"], ranks=ranks, **config)
    model = attached(import_adapter(tmp_path / "lora", llm=llm, dtype="float32"), tmp_path / "bundle")
    batch = model.batch(rows(image_of)[:1])
    assert logits_differ(model, merged(reference, products, *scales), batch) <= 1e-5


@pytest.mark.parametrize(
    "config",
    [
        {"use_dora": True},
        {"bias": "all"},
        {"modules_to_save": ["lm_head"]},
        {"init_lora_weights": "pissa"},
        {"peft_type": "LOHA"},
        {"rank_pattern": {"(a+)+": 2}},
        {"r": 8},
        {"lora_alpha": "8"},
    ],
    ids=lambda config: next(iter(config)),
)
def test_a_lora_that_inlay_does_not_compute_is_refused(tmp_path: Path, config: Any) -> None:
    lora_folder(tmp_path / "lora", LAYOUTS["bare"], **config)
    with pytest.raises(ConvertError, match=rf"{next(iter(config))}|LoRA, got|rank 8|lora_alpha"):
        import_adapter(tmp_path / "lora", llm="x")


def test_a_tensor_that_is_not_loras_is_named(tmp_path: Path) -> None:
    lora_folder(tmp_path / "lora", LAYOUTS["bare"])
    name = "base_model.model.lm_head.weight"
    save_file({name: torch.ones(2)}, tmp_path / "lora" / "adapter_model.safetensors")
    with pytest.raises(ConvertError, match="lm_head"):
        import_adapter(tmp_path / "lora", llm="x")


def test_a_down_without_its_up_is_named(tmp_path: Path) -> None:
    lora_folder(tmp_path / "lora", LAYOUTS["bare"])
    name = "base_model.model.model.layers.0.q_proj.lora_A.weight"
    save_file({name: torch.ones(4, 2)}, tmp_path / "lora" / "adapter_model.safetensors")
    with pytest.raises(ConvertError, match=r"expected lora_A and lora_B together.*model\.layers\.0\.q_proj"):
        import_adapter(tmp_path / "lora", llm="x")


def test_a_lora_on_the_vision_tower_is_refused_by_name(tokenizer_of: Any, tmp_path: Path) -> None:
    base = hf_llava_folder(tmp_path / "llava", hf_llava(tokenizer_of()), tokenizer_of())
    lora_folder(tmp_path / "lora", "vision_tower.vision_model.encoder.layers")
    with pytest.raises(ConvertError, match="2 of 2 modules of this LoRA are not in the language model: vision_tower"):
        import_adapter(tmp_path / "lora", llm=str(base), dtype="float32")
