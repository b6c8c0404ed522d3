"""Folders of TinyLLaVA Factory against transformers' LLaVA with the same weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import attached, clip_folder, llama_folder, logits_differ, rows
from safetensors.torch import save_file
from torch import Tensor

from inlay.adapters.convert import ConvertError, import_adapter, read_checkpoint
from inlay.adapters.convert.formats.tinyllava import KEYS

CONNECTOR = "connector/pytorch_model.bin"


@pytest.fixture
def config(reference: Any, tokenizer_of: Any, tmp_path: Path) -> dict[str, Any]:
    """TinyLLaVA's config, which names the folders of its frozen models."""
    return {
        "model_type": "tinyllava",
        "llm_model_name_or_path": str(llama_folder(tmp_path / "llm", reference, tokenizer_of())),
        "vision_model_name_or_path": str(clip_folder(tmp_path / "clip", reference)),
        "connector_type": "mlp2x_gelu",
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "patch",
        "image_aspect_ratio": "square",
        "tune_type_llm": "frozen",
    }


def connector(reference: Any) -> dict[str, Tensor]:
    names = {"linear_1": "0", "linear_2": "2"}
    state = reference.model.multi_modal_projector.state_dict()
    return {
        f"_connector.{names[name.partition('.')[0]]}.{name.partition('.')[2]}": tensor.clone()
        for name, tensor in state.items()
    }


def written(folder: Path, config: dict[str, Any], files: dict[str, dict[str, Any]]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for name, tensors in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        torch.save(tensors, folder / name)
    return folder


def frozen(reference: Any, below: str = "") -> dict[str, dict[str, Tensor]]:
    """The files of language model and vision tower; ``below`` is the name of matrices under a LoRA."""
    llm = {f"model.{name}": tensor.clone() for name, tensor in reference.model.language_model.state_dict().items()}
    llm = {name.replace("q_proj.", f"q_proj.{below}"): tensor for name, tensor in llm.items()}
    llm["lm_head.weight"] = reference.lm_head.weight.detach().clone()
    tower = reference.model.vision_tower.state_dict()
    return {
        "language_model/pytorch_model.bin": llm,
        "vision_tower/pytorch_model.bin": {f"vision_model.{name}": tensor.clone() for name, tensor in tower.items()},
    }


def test_logits_of_a_first_stage_equal_and_its_frozen_models_are_compared(
    reference: Any, config: Any, image_of: Any, tmp_path: Path
) -> None:
    source = written(tmp_path / "run", config, {CONNECTOR: connector(reference), **frozen(reference)})
    found = import_adapter(source, dtype="float32")
    assert found.adapter.layout.template == "plain"
    assert found.compared["llm"] == 21
    assert found.compared["image"] > 20
    model = attached(found, tmp_path / "bundle")
    assert logits_differ(model, reference, model.batch(rows(image_of))) <= 1e-5


def test_logits_of_a_lora_run_equal_those_of_the_merged_model(
    reference: Any, config: Any, image_of: Any, tmp_path: Path
) -> None:
    files = {CONNECTOR: connector(reference), **frozen(reference, "base_layer.")}
    source = written(tmp_path / "tiny-lora", config | {"tune_type_llm": "lora"}, files)
    down, up = torch.randn(4, 32) * 0.3, torch.randn(32, 4) * 0.3
    module = "base_model.model.language_model.model.layers.1.self_attn.q_proj"
    save_file({f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}, source / "adapter_model.safetensors")
    (source / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    found = import_adapter(source, dtype="float32")
    assert found.adapter.layout.template == "vicuna_v1"
    model = attached(found, tmp_path / "bundle")
    with torch.no_grad():
        reference.model.language_model.layers[1].self_attn.q_proj.weight.add_(2.0 * up @ down)
    assert logits_differ(model, reference, model.batch(rows(image_of))) <= 1e-5


def test_logits_of_a_whole_model_equal(reference: Any, config: Any, image_of: Any, tmp_path: Path) -> None:
    source = written(tmp_path / "whole", config, {})
    held = {f"connector.{name}": tensor for name, tensor in connector(reference).items()}
    for file, start in (("language_model", ""), ("vision_tower", "_vision_tower.")):
        tensors = frozen(reference)[f"{file}/pytorch_model.bin"]
        held |= {f"{file}.{start}{name}": tensor for name, tensor in tensors.items()}
    save_file(held, source / "model.safetensors", {"format": "pt"})
    model = attached(import_adapter(source, dtype="float32"), tmp_path / "bundle")
    assert logits_differ(model, reference, model.batch(rows(image_of))) <= 1e-5


def test_a_linear_connector_gives_w_x_plus_b(reference: Any, config: Any, image_of: Any, tmp_path: Path) -> None:
    weight, bias = torch.randn(32, 24), torch.randn(32)
    files = {CONNECTOR: {"_connector.weight": weight, "_connector.bias": bias}}
    source = written(tmp_path / "run", config | {"connector_type": "linear"}, files)
    model = attached(import_adapter(source, dtype="float32"), tmp_path / "bundle")
    batch = model.batch(rows(image_of))
    with torch.no_grad():
        states = reference.model.vision_tower(batch.inputs["image"], output_hidden_states=True).hidden_states[-2]
        expected = states[:, 1:] @ weight.T + bias
    torch.testing.assert_close(model.embeddings(batch)[batch.slots], expected.flatten(0, 1), atol=1e-5, rtol=0)


def test_a_tuned_language_model_is_refused(reference: Any, config: Any, tmp_path: Path) -> None:
    files = frozen(reference)
    files["language_model/pytorch_model.bin"]["model.norm.weight"] += 0.5
    source = written(tmp_path / "run", config, {CONNECTOR: connector(reference), **files})
    with pytest.raises(ConvertError, match=r"1 of 21 tensors of the language model.*model\.norm\.weight"):
        import_adapter(source, dtype="float32")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"connector_type": "resampler"}, "connector_type"),
        ({"image_aspect_ratio": "anyres"}, "image_aspect_ratio"),
        ({"vision_feature_layer": [-2, -5]}, "vision_feature_layer"),
        ({"vision_feature_select_strategy": "cls"}, "vision_feature_select_strategy"),
    ],
)
def test_a_setting_that_inlay_does_not_compute_is_refused_by_name(
    reference: Any, config: Any, tmp_path: Path, change: Any, expected: str
) -> None:
    with pytest.raises(ConvertError, match=expected):
        read_checkpoint(written(tmp_path / "run", config | change, {CONNECTOR: connector(reference)}))


def test_a_missing_extra_and_misshapen_tensor_are_named(reference: Any, config: Any, tmp_path: Path) -> None:
    held = connector(reference)
    missing = {name: tensor for name, tensor in held.items() if name != "_connector.2.bias"}
    with pytest.raises(ConvertError, match=r"inputs\.image\.layers\.2\.bias is missing"):
        import_adapter(written(tmp_path / "a", config, {CONNECTOR: missing}), dtype="float32")
    with pytest.raises(ConvertError, match=r"1 others: connector\.queries"):
        import_adapter(written(tmp_path / "b", config, {CONNECTOR: held | {"queries": torch.ones(2)}}))
    files = {CONNECTOR: held | {"_connector.2.bias": torch.ones(31)}}
    with pytest.raises(ConvertError, match=r"layers\.2\.bias has the shape \[31\] instead of \[32\]"):
        import_adapter(written(tmp_path / "c", config, files), dtype="float32")


def test_a_run_without_its_connector_is_refused(reference: Any, config: Any, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"connector/pytorch_model\.bin is missing"):
        read_checkpoint(written(tmp_path / "run", config, frozen(reference)))


class Hostile:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("true",)


def test_a_pickle_that_runs_code_is_refused(config: Any, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="system, which could run code"):
        read_checkpoint(written(tmp_path / "run", config, {CONNECTOR: {"_connector.0.weight": Hostile()}}))


def test_the_key_table_writes_what_it_reads() -> None:
    for name in ("connector._connector.0.weight", "language_model.model.norm.weight"):
        assert KEYS.theirs(str(KEYS.ours(name))) == name
