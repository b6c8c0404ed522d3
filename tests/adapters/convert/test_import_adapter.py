"""The call as a whole: names, data types, refusals that several formats share, and what is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import hf_llava, hf_llava_folder, llava_config, original_llava

from inlay.adapters.adapter import Adapter
from inlay.adapters.convert import ConvertError, import_adapter
from inlay.hub.errors import InlayError


@pytest.fixture
def tensors(tokenizer_of: Any) -> dict[str, torch.Tensor]:
    return original_llava(hf_llava(tokenizer_of()))


def saved(folder: Path, tensors: dict[str, torch.Tensor], **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(tensors, folder / "mm_projector.bin")
    (folder / "config.json").write_text(json.dumps(llava_config(**config)))
    return folder


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(torch.bfloat16, "bfloat16"), (torch.float16, "float32"), (torch.float32, "float32")],
)
def test_the_bundle_keeps_every_weight(
    tensors: Any, backbone_of: Any, tmp_path: Path, kind: torch.dtype, expected: str
) -> None:
    source = saved(tmp_path / "x", {name: tensor.to(kind) for name, tensor in tensors.items()})
    found = import_adapter(source, backbone=backbone_of())
    assert found.dtype == expected
    found.adapter.save_pretrained(tmp_path / "bundle", dtype=found.dtype)
    held = Adapter.from_pretrained(tmp_path / "bundle").inputs["image"].layers[0].weight
    assert torch.equal(held, tensors["model.mm_projector.0.weight"].to(kind).float())


def test_name_and_system_can_be_chosen(tensors: Any, backbone_of: Any, tmp_path: Path) -> None:
    source = saved(tmp_path / "llava-v1.5", tensors)
    assert import_adapter(source, backbone=backbone_of()).adapter.name == "llava-v1.5"
    adapter = import_adapter(source, backbone=backbone_of(), name="mine", system="own").adapter
    assert (adapter.name, adapter.system) == ("mine", "own")


def test_a_template_that_does_not_exist_is_refused(tensors: Any, backbone_of: Any, tmp_path: Path) -> None:
    with pytest.raises(InlayError, match="template: expected one of"):
        import_adapter(saved(tmp_path / "x", tensors), backbone=backbone_of(), template="vicuna_v9")


def test_a_checkpoint_that_names_no_language_model_asks_for_it(tensors: Any, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="does not name its language model; give it: --llm"):
        import_adapter(saved(tmp_path / "x", tensors))


def test_a_checkpoint_that_names_no_vision_tower_asks_for_it(tensors: Any, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="does not name its vision tower; give it: --image"):
        import_adapter(saved(tmp_path / "x", tensors, mm_vision_tower=None), llm="x")


def test_a_weight_that_is_not_a_number_is_not_saved(tensors: Any, backbone_of: Any, tmp_path: Path) -> None:
    tensors["model.mm_projector.0.bias"][0] = torch.nan
    found = import_adapter(saved(tmp_path / "x", tensors), backbone=backbone_of())
    with pytest.raises(InlayError, match="finite"):
        found.adapter.save_pretrained(tmp_path / "bundle", dtype=found.dtype)


def test_the_interface_names_the_models_and_no_path(tokenizer_of: Any, tmp_path: Path) -> None:
    place = hf_llava_folder(tmp_path / "llava-hf", hf_llava(tokenizer_of()), tokenizer_of())
    interface = import_adapter(place, dtype="float32").adapter.interface
    assert {port.source for port in interface.values()} == {"llava-hf"}


def test_importing_twice_gives_the_same_tensors(tensors: Any, backbone_of: Any, tmp_path: Path) -> None:
    source = saved(tmp_path / "x", tensors)
    first, second = (import_adapter(source, backbone=backbone_of()).adapter.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
