"""ms-swift's lora_llm folders on a LLaVA folder, against the merged model with the trained projector."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import attached, hf_llava, hf_llava_folder, logits_differ, rows
from safetensors.torch import save_file
from torch import Tensor

from inlay.adapters.convert import ConvertError, import_adapter
from inlay.adapters.convert.formats.ms_swift import KEYS

BEFORE = {"4.51": "base_model.model.", "4.52": "base_model.model.model."}
CONFIG = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "bias": "none"}
LANGUAGE = {"4.51": "language_model.model.", "4.52": "language_model."}


@pytest.fixture
def reference(tokenizer_of: Any) -> Any:
    return hf_llava(tokenizer_of())


@pytest.fixture
def base(reference: Any, tokenizer_of: Any, tmp_path: Path) -> Path:
    return hf_llava_folder(tmp_path / "llava", reference, tokenizer_of(), "4.51")


def trained(reference: Any) -> Any:
    """The reference with another projector and an update of q in layer 1; the matrices of the update."""
    generator = torch.Generator().manual_seed(2)
    down, up = (torch.randn(shape, generator=generator) * 0.3 for shape in ((4, 32), (32, 4)))
    with torch.no_grad():
        for tensor in reference.model.multi_modal_projector.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
        reference.model.language_model.layers[1].self_attn.q_proj.weight.add_(2.0 * up @ down)
    return down, up


def run(folder: Path, reference: Any, base: Path, version: str = "4.52", **changes: Tensor | None) -> Path:
    down, up = trained(reference)
    start = BEFORE[version]
    folder.mkdir()
    module = f"{start}{LANGUAGE[version]}layers.1.self_attn.q_proj"
    save_file({f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, "base_model_name_or_path": str(base)}))
    state = reference.model.multi_modal_projector.state_dict()
    vision: dict[str, Any] = {f"multi_modal_projector.{name}": t.clone() for name, t in state.items()}
    vision |= {name.replace("__", "."): tensor for name, tensor in changes.items()}
    save_file({f"{start}{name}": t for name, t in vision.items() if t is not None}, folder / "vit.safetensors")
    return folder


@pytest.mark.parametrize("version", BEFORE)
def test_logits_equal_those_of_the_merged_model_with_the_trained_projector(
    reference: Any, base: Path, image_of: Any, tmp_path: Path, version: str
) -> None:
    found = import_adapter(run(tmp_path / "run", reference, base, version), dtype="float32")
    assert [part.name for part in found.adapter.parts()] == ["inputs.image", "lora"]
    model = attached(found, tmp_path / "bundle")
    assert logits_differ(model, reference, model.batch(rows(image_of))) <= 1e-5


def test_an_untouched_vision_tower_in_the_file_is_compared(reference: Any, base: Path, tmp_path: Path) -> None:
    tower = reference.model.vision_tower.state_dict()
    name = next(name for name in tower if name.endswith("layers.0.mlp.fc1.bias"))
    changes = {f"vision_tower.{name}".replace(".", "__"): tower[name].clone()}
    assert import_adapter(run(tmp_path / "same", reference, base, **changes), dtype="float32").adapter.lora is not None


def test_a_trained_vision_tower_is_refused_with_advice(reference: Any, base: Path, tmp_path: Path) -> None:
    tower = reference.model.vision_tower.state_dict()
    name = next(name for name in tower if name.endswith("layers.0.mlp.fc1.bias"))
    changes = {f"vision_tower.{name}".replace(".", "__"): tower[name] + 1}
    source = run(tmp_path / "run", reference, base, **changes)
    with pytest.raises(ConvertError, match=r"1 of 1 tensors of the image encoder.*fc1\.bias.*--freeze_vit true"):
        import_adapter(source, dtype="float32")
    assert import_adapter(source, dtype="float32", frozen="leave").adapter.lora is not None


def test_a_missing_extra_and_misshapen_tensor_are_named(reference: Any, base: Path, tmp_path: Path) -> None:
    bias = "multi_modal_projector__linear_2__bias"
    with pytest.raises(ConvertError, match=r"inputs\.image\.layers\.2\.bias is missing"):
        import_adapter(run(tmp_path / "a", reference, base, **{bias: None}))
    with pytest.raises(ConvertError, match=r"1 others: base_model\.model\.model\.audio_tower\.x"):
        import_adapter(run(tmp_path / "b", reference, base, audio_tower__x=torch.ones(1)))
    with pytest.raises(ConvertError, match=r"layers\.2\.bias has the shape \[31\] instead of \[32\]"):
        import_adapter(run(tmp_path / "c", reference, base, **{bias: torch.ones(31)}), dtype="float32")


def test_without_its_base_model_the_folder_is_refused(reference: Any, base: Path, tmp_path: Path) -> None:
    source = run(tmp_path / "run", reference, base)
    shutil.rmtree(base)
    with pytest.raises(ConvertError, match=r"these tensors replace those of a multimodal base model.*--llm"):
        import_adapter(source)


def test_the_key_table_writes_what_it_reads() -> None:
    name = "base_model.model.model.multi_modal_projector.linear_1.weight"
    assert KEYS.theirs(str(KEYS.ours(name))) == name
